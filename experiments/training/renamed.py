"""Former names of methods in this program. They now have the library's names."""

RENAMED = {
    "gce": "generalized_cross_entropy",
    "sce": "symmetric_cross_entropy",
    "nce_rce": "active_passive",
    "nce_mae": "active_passive with loss.active_passive.passive=mae",
    "bootstrap_soft": "bootstrap",
    "bootstrap_hard": "bootstrap with loss.bootstrap.hard=True and loss.bootstrap.beta=0.8",
    "forward": "forward_correction",
    "backward": "backward_correction",
    "self_paced_hard": "self_paced",
    "self_paced_linear": "self_paced with loss.self_paced.weights=linear",
    "elr": "early_learning",
    "o2u": "loss_memory",
}
