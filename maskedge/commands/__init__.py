"""What the program does when a person types its name; one module a command, loaded when used."""
