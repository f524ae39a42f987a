"""Pictures of violations, for those who ask for them: nobody but the violator can be recognised."""
