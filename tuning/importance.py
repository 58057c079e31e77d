"""Which hyper-parameters mattered: rank correlation, and permutation importance of a forest."""

import numpy as np
import pandas as pd
from scipy.stats import spearmanr
from sklearn.ensemble import RandomForestRegressor
from sklearn.inspection import permutation_importance

#: Trials below which nothing is said.
LEAST_TRIALS = 8


def importances(table: pd.DataFrame, names: list[str], *, seed: int = 0) -> pd.DataFrame:
    """Estimate the importance of each hyper-parameter.

    Parameters
    ----------
    table
        Trials with the columns `objective` (finite) and `names`; a hyper-parameter that had no
        meaning in a trial is NaN there.
    names
        The hyper-parameters.
    seed
        Of forest and permutations.

    Returns
    -------
    pandas.DataFrame
        A row per hyper-parameter with at least two values, most important first: name, trials
        (where it had a meaning), correlation (Spearman's, of numbers alone, over those trials;
        positive where larger values have larger objectives), p_value, importance (by how much the
        forest's R^2 on the ranks falls when it is permuted),
        importance_error. Empty with fewer than `LEAST_TRIALS` trials.

    Notes
    -----
    Correlation sees only monotone effects one at a time; the forest also interactions, but is
    judged on the trials it was fitted to. Permutation importance divides itself among
    hyper-parameters that say the same.
    """
    columns = ["name", "trials", "correlation", "p_value", "importance", "importance_error"]
    names = [name for name in names if table[name].nunique() > 1]
    if len(table) < LEAST_TRIALS or not names:
        return pd.DataFrame(columns=columns)
    ranks = table["objective"].rank().to_numpy()
    features = pd.DataFrame({name: _codes(table[name]) for name in names})
    forest = RandomForestRegressor(300, min_samples_leaf=2, random_state=seed)
    forest.fit(features.to_numpy(), ranks)
    permuted = permutation_importance(
        forest, features.to_numpy(), ranks, n_repeats=30, random_state=seed
    )
    rows = []
    for position, name in enumerate(names):
        known = table[name].notna().to_numpy()
        correlation, p_value = np.nan, np.nan
        if _is_number(table[name]) and known.sum() > 2 and table[name].nunique() > 1:
            values = table.loc[known, name].astype(float)
            objective = table.loc[known, "objective"].astype(float)
            if values.nunique() > 1 and objective.nunique() > 1:
                correlation, p_value = spearmanr(values, objective)
        rows.append(
            {
                "name": name,
                "trials": int(known.sum()),
                "correlation": float(correlation),
                "p_value": float(p_value),
                "importance": float(permuted.importances_mean[position]),
                "importance_error": float(permuted.importances_std[position]),
            }
        )
    found = pd.DataFrame(rows, columns=columns)
    return found.sort_values("importance", ascending=False, ignore_index=True)


def _is_number(column: pd.Series) -> bool:
    return all(isinstance(value, int | float | np.number) for value in column.dropna())


def _codes(column: pd.Series) -> np.ndarray:
    """Numbers as they are, names numbered; -1 below everything where it had no meaning."""
    if _is_number(column):
        values = column.astype(float)
        return values.fillna(values.min() - 1).to_numpy()
    return pd.factorize(column.astype("string"), sort=True)[0].astype(float)
