"""`envid run`: a command behind the gate, from what it reads to what it made."""
