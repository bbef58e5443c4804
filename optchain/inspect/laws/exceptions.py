"""The one table of exceptions: from which law a technique is exempt, and why. It counts for whatever contains it."""

EXCEPTIONS: dict[str, dict[str, str]] = {
    "stacked_layers": {"add_noise": "each leaf has random numbers of its own, and stacked layers are one leaf"},
    "huge_gradients": {
        "scale_by_param_block_rms": "multiplies the parameters by the size of the gradient, by 1e45 in three steps"
    },
}

# Not cured yet.
UNCURED = {
    "empty_arrays": """
        scale_by_apollo scale_by_dion scale_by_fira scale_by_kl_soap scale_by_kron scale_by_scion scale_by_shampoo
    """,
    "one_gradient_of_1e37": """
        scale_by_kl_soap scale_by_kron scale_by_shampoo scale_by_soap scale_by_adam_mini scale_by_factored_rms
        scale_by_came scale_by_rowwise_adagrad scale_by_stddev scale_by_param_block_rms scale_by_dog scale_by_dowg
        scale_by_ldog hypergradient mechanize floor_update_ratio
    """,
    "tiny_norms": """
        scale_by_shampoo fromage_step scale_by_lars scale_by_trust_ratio scale_by_dadapt_sgd floor_update_ratio
    """,
    "shard_map": """
        clip_by_adagc adaptive_grad_clip clip_by_block_rms clip_by_global_norm clip_by_leaf_norm
        differentially_private_aggregate clip_by_quantile clip_by_zscore keep_params_max_norm keep_params_norm
        cautious graft add_noise lbfgs scale_by_galore scale_by_apollo scale_by_dion scale_by_fira scale_by_kl_soap
        scale_by_kron scale_by_muon scale_by_normuon scale_by_scion scale_by_shampoo scale_by_soap
        scale_by_adam_mini scale_by_factored_rms scale_by_came scale_by_novograd scale_by_rowwise_adagrad
        scale_by_sm3 scale_by_stable_adam fromage_step scale_by_lars scale_by_trust_ratio scale_by_param_block_rms
        scale_by_dowg sam asam gsam looksam centralize normalize_by_leaf_norm normalize_by_update_norm keep_top_k
        scale_by_dadapt_adam hypergradient
    """,
    "keys_of_members": """
        differentially_private_aggregate add_noise keep_random scale_by_apollo scale_by_dion scale_by_kron
    """,
    "forgotten_extra_arguments": """
        clip_qk guard scale_on_plateau scale_by_adahessian scale_by_sophia scale_by_momo scale_by_momo_adam
        scale_by_polyak
    """,
    "derivatives": """
        lbfgs scale_by_galore scale_by_dion scale_by_fira scale_by_kl_soap scale_by_kron scale_by_shampoo
        scale_by_soap
    """,
    "size_of_state": """
        lbfgs scale_by_kl_soap scale_by_kron
    """,
    "explicit_mesh": """
        scale_by_rowwise_adagrad
    """,
    "one_gradient_of_3e38": """
        trace add_cautious_decayed_weights add_decayed_weights decay_to_init scale_by_galore scale_by_apollo
        scale_by_dion scale_by_fira scale_by_kl_soap scale_by_kron scale_by_shampoo scale_by_soap scale_by_acprop
        scale_by_adam_mini scale_by_factored_rms scale_by_came scale_by_optimistic_gradient scale_by_rowwise_adagrad
        scale_by_stddev reduce_variance scale_by_param_block_rms scale_by_dog scale_by_dowg scale_by_ldog asam
        centralize hypergradient mechanize floor_update_ratio
    """,
}
for _law, _names in UNCURED.items():
    EXCEPTIONS[_law] = dict.fromkeys(_names.split(), "not cured yet") | EXCEPTIONS.get(_law, {})
