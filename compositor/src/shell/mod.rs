//! Mode, focus, switcher: values in, effects out.

/// The model.
#[derive(Debug, Default)]
pub struct Shell {}
