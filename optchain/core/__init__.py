"""What everything stands on: rules, runners, chains, schedules."""
