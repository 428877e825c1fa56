"""What a package can hold of a calibration: how it is applied, without how it is learnt."""

from loopline.evaluation.beta import BetaCalibrator
from loopline.evaluation.calibration import LogisticCalibrator
from loopline.evaluation.conformal import QuantileShift
from loopline.evaluation.isotonic import IsotonicCalibrator
from loopline.evaluation.softmax import TemperatureCalibrator, VectorCalibrator

Calibrator = (
    LogisticCalibrator | BetaCalibrator | IsotonicCalibrator | TemperatureCalibrator | VectorCalibrator | QuantileShift
)
"""`apply(outputs)` gives calibrated outputs of the same shape, each row's the same alone or among others."""
