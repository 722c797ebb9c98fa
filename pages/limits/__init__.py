"""When not: experiments on the limits of distillation."""
