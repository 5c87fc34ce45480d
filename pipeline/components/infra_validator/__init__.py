"""InfraValidator: asks the exported model as a server would."""
