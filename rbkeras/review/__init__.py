"""The page on which a person looks at suspected label errors and passes verdicts."""
