"""How good a predictor is: metrics, the evaluation of a twin beside baselines, its speed, tables and figures."""
