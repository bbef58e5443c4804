"""Translation from French to English: a generated corpus, a transformer, and which optimizers learn it best."""
