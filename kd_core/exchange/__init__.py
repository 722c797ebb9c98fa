"""What comes and goes: bundles, shipped models, exports, teachers trained elsewhere."""
