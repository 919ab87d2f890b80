//! What a host keeps for a whole run.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// Something a host keeps for a run and finds again in every call of it. Whoever begins the run
/// makes an empty one and passes clones on; only the host looks inside.
#[derive(Clone, Default)]
pub struct RunState(Arc<OnceLock<Arc<dyn Any + Send + Sync>>>);

impl RunState {
    /// What is kept, made now where nothing is. `None` where it is of another type.
    pub fn get_or_default<T: Any + Default + Send + Sync>(&self) -> Option<Arc<T>> {
        let kept = self.0.get_or_init(|| Arc::new(T::default()));
        kept.clone().downcast().ok()
    }
}

impl fmt::Debug for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RunState")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_keep_the_same() {
        let state = RunState::default();
        let first = state.get_or_default::<String>();
        let second = state.clone().get_or_default::<String>();
        assert!(first.zip(second).is_some_and(|(first, second)| Arc::ptr_eq(&first, &second)));
        assert!(state.get_or_default::<u8>().is_none());
    }
}
