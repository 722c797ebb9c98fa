"""When does distillation not help? Experiments on its limits, each beside what the literature claims."""
