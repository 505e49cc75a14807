"""Functions that a project runs on records before they are sent, each in its own process."""
