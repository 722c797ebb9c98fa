"""Feature-level objectives against loops in float64 numpy, gradcheck and what must not change them; taps, training."""

import itertools
import math

import numpy as np
import pytest
import torch
from tiny import tiny_config
from torch.nn import functional as F

from kd_core.base.config import ConfigError
from kd_core.data.catalogue import TransferSetConfig
from kd_core.losses import contrast, hints, relations
from kd_core.losses.catalogue import OBJECTIVES, check_shows
from kd_core.models.config import BLACK_BOX, ModelConfig
from kd_core.training.loop import Training, train

N, D, E = 7, 5, 9


def drawn(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def vectors():
    return drawn(N, D, seed=1), drawn(N, E, seed=2) * 3


@pytest.fixture
def maps():
    return drawn(3, 4, 6, 4, seed=3), drawn(3, 2, 3, 4, seed=4) * 2


def rotated(features):
    rotation, _ = np.linalg.qr(np.random.default_rng(5).normal(size=(features.shape[1],) * 2))
    return features @ torch.from_numpy(rotation)


def huber(x):
    return x * x / 2 if abs(x) <= 1 else abs(x) - 0.5


def similarity_by_hand(student, teacher):
    def rows(features):
        inner = np.array([[sum(a * b for a, b in zip(f, g, strict=True)) for g in features] for f in features])
        return inner / np.sqrt((inner**2).sum(axis=1, keepdims=True))

    return ((rows(student) - rows(teacher)) ** 2).sum() / len(student) ** 2


def distance_by_hand(student, teacher):
    pairs = list(itertools.combinations(range(len(student)), 2))

    def distances(features):
        plain = np.array([math.dist(features[i], features[j]) for i, j in pairs])
        return plain / plain.mean()

    return np.mean([huber(a - b) for a, b in zip(distances(student), distances(teacher), strict=True)])


def angle_by_hand(student, teacher):
    def cosine(features, i, j, k):
        to_i, to_k = features[i] - features[j], features[k] - features[j]
        return to_i @ to_k / (np.linalg.norm(to_i) * np.linalg.norm(to_k))

    triples = itertools.permutations(range(len(student)), 3)
    return np.mean([huber(cosine(student, *triple) - cosine(teacher, *triple)) for triple in triples])


def attention_by_hand(student, teacher):
    def map_of(image):
        squares = (image**2).mean(axis=0).ravel()
        return squares / np.sqrt((squares**2).sum())

    return np.mean([(map_of(s) - map_of(t)) ** 2 for s, t in zip(student, teacher, strict=True)])


RELATIONS = {
    "similarity": (relations.similarity_loss, similarity_by_hand),
    "distance": (relations.distance_loss, distance_by_hand),
    "angle": (relations.angle_loss, angle_by_hand),
}


@pytest.mark.parametrize("name", RELATIONS)
def test_relations_match_a_float64_recomputation(vectors, name):
    loss, by_hand = RELATIONS[name]
    expected = by_hand(*(features.numpy() for features in vectors))
    assert float(loss(*vectors)) == pytest.approx(expected, rel=1e-9)
    single = loss(*(features.float() for features in vectors))
    assert float(single) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", RELATIONS)
def test_relations_gradients_are_those_of_differences(vectors, name):
    student, teacher = vectors
    assert torch.autograd.gradcheck(lambda features: RELATIONS[name][0](features, teacher), student.requires_grad_())


@pytest.mark.parametrize("name", RELATIONS)
def test_relations_do_not_change_when_features_are_rotated_or_in_another_order(vectors, name):
    student, teacher = vectors
    loss = RELATIONS[name][0]
    expected = pytest.approx(float(loss(student, teacher)), rel=1e-9)
    assert float(loss(rotated(student), rotated(teacher))) == expected
    order = torch.randperm(N, generator=torch.Generator().manual_seed(0))
    assert float(loss(student[order], teacher[order])) == expected


@pytest.mark.parametrize("name", RELATIONS)
def test_relations_do_not_change_with_the_scale_of_features(vectors, name):
    student, teacher = vectors
    loss = RELATIONS[name][0]
    assert float(loss(student * 20, teacher / 3)) == pytest.approx(float(loss(student, teacher)), rel=1e-9)


@pytest.mark.parametrize("name", ["distance", "angle"])
def test_distances_and_angles_do_not_change_when_features_move(vectors, name):
    student, teacher = vectors
    loss = RELATIONS[name][0]
    assert float(loss(student + 4, teacher - 2)) == pytest.approx(float(loss(student, teacher)), rel=1e-9)


@pytest.mark.parametrize("name", RELATIONS)
def test_features_that_lie_like_the_teachers_leave_no_relation_to_learn(vectors, name):
    _, teacher = vectors
    wider = torch.cat([rotated(teacher) * 2, torch.zeros(N, 3, dtype=teacher.dtype)], dim=1)
    assert float(RELATIONS[name][0](wider, teacher)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("name", RELATIONS)
@pytest.mark.parametrize("rows", [[0] * N, [0, 0, 0, 3, 4, 5, 6], [0], [0, 1]], ids=["same", "double", "one", "two"])
@pytest.mark.parametrize("factor", [0.0, 1.0], ids=["zero", "drawn"])
def test_features_that_coincide_or_are_zero_give_finite_gradients(vectors, name, rows, factor):
    student, teacher = vectors
    student = (student[rows] * factor).float().requires_grad_()
    loss = RELATIONS[name][0](student, teacher[: len(rows)].float())
    loss.backward()
    assert loss.isfinite()
    assert student.grad.abs().max() < 100


def test_angles_are_taken_within_groups_of_the_batch(vectors):
    student, teacher = vectors
    first, second = (angle_by_hand(student[part].numpy(), teacher[part].numpy()) for part in (slice(4), slice(4, 7)))
    loss = relations.angle_loss(student, teacher, group=4)
    assert float(loss) == pytest.approx((first * 24 + second * 6) / 30, rel=1e-9)


def test_a_hint_is_the_mean_square_after_a_linear_map():
    torch.manual_seed(0)
    regressor = hints.Regressor(4, 2).double()
    weight, bias = (parameter.detach().numpy() for parameter in regressor.parameters())
    student, teacher = drawn(3, 4, seed=1), drawn(3, 2, seed=2)
    expected = ((student.numpy() @ weight.T + bias - teacher.numpy()) ** 2).mean()
    assert hints.hint_loss(regressor(student), teacher).item() == pytest.approx(expected, rel=1e-9)
    assert torch.autograd.gradcheck(lambda seen: hints.hint_loss(regressor(seen), teacher), student.requires_grad_())


def test_a_hint_between_maps_of_two_sizes_compares_averages_by_place(maps):
    student, teacher = maps
    regressor = hints.Regressor(4, 2).double()
    weight, bias = (parameter.detach().numpy() for parameter in regressor.parameters())
    halved = student.numpy().reshape(3, 4, 3, 2, 4).mean(axis=3)
    expected = ((np.einsum("ec,bchw->behw", weight, halved) + bias[:, None, None] - teacher.numpy()) ** 2).mean()
    assert hints.hint_loss(regressor(student), teacher).item() == pytest.approx(expected, rel=1e-9)


def test_attention_matches_float64_at_each_stage_and_sums_over_them(maps):
    student, teacher = maps
    halved = student.numpy().reshape(3, 4, 3, 2, 4).mean(axis=3)
    first = attention_by_hand(halved, teacher.numpy())
    second = attention_by_hand(teacher.numpy(), halved)
    assert float(hints.attention_loss([(student, teacher)])) == pytest.approx(first, rel=1e-9)
    both = hints.attention_loss([(student, teacher), (teacher, student)])
    assert float(both) == pytest.approx(first + second, rel=1e-9)
    assert torch.autograd.gradcheck(lambda seen: hints.attention_loss([(seen, teacher)]), student.requires_grad_())


def test_attention_does_not_change_with_scale_sign_or_order_of_the_channels(maps):
    student, teacher = maps
    expected = pytest.approx(float(hints.attention_loss([(student, teacher)])), rel=1e-9)
    assert float(hints.attention_loss([(-5 * student.flip(1), teacher)])) == expected


def test_maps_that_are_zero_have_no_attention_and_no_gradient(maps):
    _, teacher = maps
    student = torch.zeros_like(teacher, requires_grad=True)
    hints.attention_loss([(student, teacher)]).backward()
    assert (student.grad == 0).all()


@pytest.mark.parametrize(
    ("student", "teacher", "pairs"),
    [
        (2, 2, [(0, 0), (1, 1)]),
        (2, 4, [(0, 1), (1, 3)]),
        (5, 2, [(1, 0), (4, 1)]),
        (3, 4, [(0, 0), (1, 1), (2, 3)]),
        (1, 3, [(0, 2)]),
    ],
)
def test_stages_are_joined_at_the_same_share_of_both_depths(student, teacher, pairs):
    assert hints.stage_pairs(student, teacher) == pairs


def contrast_by_hand(state, student, teacher, indices, candidates, names):
    """The loss and the new memory of one first step, image by image in float64 numpy."""
    tau, images = contrast.CONTRAST_TEMPERATURE, len(state["student_bank"])

    def unit(rows):
        return rows / np.sqrt((rows**2).sum(axis=-1, keepdims=True))

    ours = unit(student @ state["embed_student.weight"].T + state["embed_student.bias"])
    theirs = unit(teacher @ state["embed_teacher.weight"].T + state["embed_teacher.bias"])
    total, count = 0.0, len(candidates)
    for anchors, bank in ((ours, state["teacher_bank"]), (theirs, state["student_bank"])):
        z = np.mean([[math.exp(a @ bank[j] / tau) for j in candidates] for a in anchors]) * images

        def h(anchor, j, bank=bank, z=z):
            score = math.exp(anchor @ bank[j] / tau) / z
            return score / (score + count / images)

        for anchor, i in zip(anchors, indices, strict=True):
            misses = [math.log(1 - h(anchor, j)) for j in candidates if names[j] != names[i]]
            total -= math.log(h(anchor, i)) + count * (np.mean(misses) if misses else 0.0)
    banks = []
    for bank, embedded in ((state["student_bank"], ours), (state["teacher_bank"], theirs)):
        new = bank.copy()
        new[indices] = unit(contrast.MOMENTUM * bank[indices] + (1 - contrast.MOMENTUM) * embedded)
        banks.append(new)
    return total / len(indices), *banks


@pytest.mark.parametrize("labelled", [True, False])
def test_contrast_and_its_memory_match_a_float64_recomputation(vectors, labelled):
    torch.manual_seed(0)
    module = contrast.Contrast(D, E, 20).double()
    labels = torch.arange(20) % 3
    indices = torch.tensor([3, 19, 0, 7, 8, 12, 5])
    state = {name: value.detach().numpy().copy() for name, value in module.state_dict().items()}
    before = torch.get_rng_state()
    candidates = torch.randint(20, (20,)).tolist()
    torch.set_rng_state(before)
    computed = module(*vectors, indices, labels[indices] if labelled else None)
    names = [label if labelled and i in indices else f"image {i}" for i, label in enumerate(labels.tolist())]
    arrays = (features.numpy() for features in vectors)
    loss, student_bank, teacher_bank = contrast_by_hand(state, *arrays, indices.tolist(), candidates, names)
    assert computed.item() == pytest.approx(loss, rel=1e-9)
    np.testing.assert_allclose(module.student_bank.numpy(), student_bank, rtol=1e-9)
    np.testing.assert_allclose(module.teacher_bank.numpy(), teacher_bank, rtol=1e-9)


def test_contrasts_gradients_are_those_of_differences():
    scores = drawn(4, 6, seed=1).exp()
    among = drawn(4, 6, seed=2) > 0
    among[1] = False

    def loss(positives, negatives):
        return contrast.contrastive_loss(positives, negatives, among, count=6, images=50)

    assert torch.autograd.gradcheck(loss, (scores[:, 0].clone().requires_grad_(), scores.clone().requires_grad_()))


def test_contrast_draws_an_images_embeddings_together_and_others_apart():
    torch.manual_seed(0)
    module = contrast.Contrast(D, E, N)
    student, teacher = torch.nn.Parameter(torch.randn(N, D)), torch.randn(N, E)
    optimizer = torch.optim.Adam([student, *module.parameters()], lr=0.05)
    first = None
    for _ in range(60):
        optimizer.zero_grad()
        loss = module(student, teacher, torch.arange(N), None)
        first = loss.item() if first is None else first
        loss.backward()
        optimizer.step()
    assert loss.item() < first / 2
    cosines = module.student_bank @ module.teacher_bank.T
    assert cosines.argmax(dim=1).tolist() == list(range(N))


# ------------------------------------------------------------------------------------------------------ in training

FEATURES = [name for name, info in OBJECTIVES.items() if info.needs != "logits"]
STUDENT = ModelConfig(name="cnn", channels=(4, 6))


def distilled(objective, *, model=STUDENT, weights=(), transfer_set=None, **training):
    """A student whose teacher is handed to Training, on digits at a batch of 128."""
    config = tiny_config("distilled", teachers=("someone",), **{"epochs": 1, "learning_rate": 5e-3, **training})
    distillation = config.distillation.replace(objective=objective, weights=weights)
    return config.replace(model=model, distillation=distillation, transfer_set=transfer_set or TransferSetConfig())


@pytest.fixture(scope="module")
def teacher(digits):
    """A cnn of other widths and more stages than its student, trained for an epoch."""
    run = Training(tiny_config(epochs=1).replace(model=ModelConfig(name="cnn", channels=(6, 8, 10))), digits)
    for _ in train(run):
        pass
    return run.best_model()


@pytest.mark.parametrize("objective", [name for name, info in OBJECTIVES.items() if info.needs != "logits"])
def test_without_labels_nothing_would_teach_the_last_layer_so_it_is_refused(objective):
    with pytest.raises(ConfigError, match="teaches what feeds the last layer, not the layer itself: keep its weight"):
        distilled(objective, weights={"hard": 0})
    with pytest.raises(ConfigError, match="teaches the last layer by labels alone: choose hinton, or keep the labels"):
        distilled(objective, transfer_set=TransferSetConfig(labelled=False))


def test_a_network_that_only_gives_logits_is_refused_as_a_teacher_of_features():
    black_box = ModelConfig(name=BLACK_BOX)
    check_shows(black_box, "dkd", "teacher")
    for objective in FEATURES:
        with pytest.raises(ConfigError, match=f"{objective} compares .* the teacher, black box"):
            check_shows(black_box, objective, "teacher")


def test_relations_are_as_much_larger_than_the_authors_as_is_said():
    """Their means are over all N² pairs and N³ triples, also of an image with itself, whose difference is 0."""
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(64, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    unlike = ~torch.eye(64, dtype=torch.bool)

    def distances(features):
        apart = torch.cdist(features, features)
        return apart / apart[unlike].mean()

    def cosines(features):
        directions = F.normalize(features[:, None] - features[None], dim=2)
        return directions @ directions.transpose(1, 2)

    theirs = F.smooth_l1_loss(distances(student), distances(teacher))
    assert float(relations.distance_loss(student, teacher) / theirs) == pytest.approx(64 / 63)
    theirs = F.smooth_l1_loss(cosines(student), cosines(teacher))
    assert float(relations.angle_loss(student, teacher) / theirs) == pytest.approx(64**2 / (63 * 62))
    assert f"{64 / 63 - 1:.1%} (distances) and {64**2 / (63 * 62) - 1:.1%} (angles)" in OBJECTIVES["rkd"].differs
