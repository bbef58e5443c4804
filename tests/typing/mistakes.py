"""What a type checker must find: each planted mistake names its rule. It is read, not run."""

import optax

import optchain as oc
from optchain.typing import Mask, Number

oc.adamw(lr=1e-3)  # expect: reportCallIssue
oc.adamw(1e-3, weigth_decay=0.1)  # expect: reportCallIssue
oc.adamw()  # expect: reportCallIssue
oc.adamw("1e-3")  # expect: reportArgumentType
oc.adamw(1e-3, b1=None)  # expect: reportArgumentType
oc.adamw(1e-3, mask=0.1)  # expect: reportArgumentType
oc.adamw(1e-3, mask=lambda path, leaf, more: True)  # expect: reportArgumentType
oc.muon(0.02, ns_steps=5.0)  # expect: reportArgumentType
oc.muon(0.02, nesterov="yes")  # expect: reportArgumentType
oc.scale_by_adam(b3=0.9)  # expect: reportCallIssue
oc.scale_by_adam(0.9, 0.999, 1e-8, 0.0, None, 0.1)  # expect: reportCallIssue
oc.clip_by_global_norm()  # expect: reportCallIssue
oc.clip_by_global_norm([1.0])  # expect: reportArgumentType
oc.scale_by_learning_rate(lambda step, total: 0.1)  # expect: reportArgumentType
oc.warmup_cosine(peak=1e-3, warmup=10)  # expect: reportCallIssue
oc.cosine("0.1", steps=10)  # expect: reportArgumentType
oc.piecewise(values=0.1, boundaries=(10,))  # expect: reportArgumentType
rate: float = oc.cosine(0.1, steps=10)  # expect: reportAssignmentType
doubled = oc.cosine(0.1, steps=10) * 2  # expect: reportOperatorIssue
oc.cautious(1e-3)  # expect: reportArgumentType
oc.cautious(oc.scale_by_adam)  # expect: reportArgumentType
oc.lookahead(oc.adam(1e-3), sync_period=0.5, slow_step_size=0.5)  # expect: reportArgumentType
oc.sparse(oc.adam(1e-3), 0.9, schedule=oc.cosine(0.9, 10))  # expect: reportArgumentType
oc.precision(oc.adam(1e-3), slots=16)  # expect: reportArgumentType
oc.rows(oc.adam(1e-3), table="*embedding")  # expect: reportCallIssue
oc.chain(oc.adam(1e-3), lr=0.1)  # expect: reportArgumentType
oc.chain(oc.adam(1e-3), watch=True).step()  # expect: reportAttributeAccessIssue
oc.adam(1e-3).init()  # expect: reportCallIssue
oc.apply(oc.adam(1e-3), {}, {})  # expect: reportCallIssue
oc.metrics()  # expect: reportCallIssue
oc.scale_by_adan_typo()  # expect: reportAttributeAccessIssue
number: Number = "0.1"  # expect: reportAssignmentType
mask: Mask = 3.5  # expect: reportAssignmentType
plain: optax.GradientTransformation = oc.cosine(0.1, 10)  # expect: reportAssignmentType
