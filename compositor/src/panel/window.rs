//! How the plain list of guests is drawn; what it lists and does is the model's.
