"""Input files: testbeds and experiments, validated, with units, every mistake told with file:line:column."""
