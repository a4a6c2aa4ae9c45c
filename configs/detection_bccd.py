from configs import detection


def get_config():
    config = detection.get_config()
    config.epochs = 60
    config.batch_size = 8
    config.data.name = "bccd"
    config.optimizer.name = "adamw"
    config.optimizer.learning_rate = 2e-3
    config.optimizer.weight_decay = 1e-4
    config.optimizer.schedule = "cosine"
    config.report.losses = True
    return config
