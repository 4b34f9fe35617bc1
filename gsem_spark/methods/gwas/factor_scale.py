"""Scale of the factors of a per-SNP model: the variances in whose units its effects stand."""

from __future__ import annotations

import numpy as np

from gsem_spark.methods.gwas.user_model import UserModelGwas


def factor_variances(gwas: UserModelGwas) -> dict[str, float]:
    """Variance of every factor at the fit without SNPs, in the units of the effects on it.

    What :func:`~gsem_spark.methods.gwas.effective_n.effective_n` needs: 1 for a factor that ``std_lv`` scales, its estimate
    where a marker loading does; of a factor that depends on others all of its variance, not its residual alone.

    Returns
    -------
    dict
        By the factor's name; factors whose variance is not positive are left out.
    """
    model = gwas.model
    arrows, variances = model.matrices(gwas.start)
    arrows[:, model.variables.index(gwas.predictor)] = 0.0  # without the SNP
    total = np.linalg.solve(np.eye(len(arrows)) - arrows, variances)
    total = np.linalg.solve(np.eye(len(arrows)) - arrows, total.T)
    at = {name: float(total[i, i]) for i, name in enumerate(model.variables)}
    return {name: at[name] for name in model.latent if at[name] > 0.0}
