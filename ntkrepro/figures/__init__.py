FIGURES: dict[str, object] = {}
