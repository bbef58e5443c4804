"""What every room needs: errors, files, signals, intervals."""
