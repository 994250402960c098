# what `xrcore.learning` offers; read by type checkers, and by lazy_loader when a name is first used
from .models import PoseRegressor as PoseRegressor
from .networks import Architecture as Architecture
from .settings import TrainingSettings as TrainingSettings
from .training import fine_tuning as fine_tuning
from .training import profile as profile
from .training import shipped_start_model as shipped_start_model
from .training import train as train
from .training import train_start as train_start
