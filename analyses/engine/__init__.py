"""What studies have in common: a study is a declaration, the engine carries it out."""
