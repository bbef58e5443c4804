"""What version 0.1 computed: gradients, runs, compiler counts and states, recorded for the versions after it."""
