"""Source credentials: what signs AssumeRole, by kind of source."""
