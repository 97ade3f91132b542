//! The shell on a real kernel with a real display, real input devices and a real seat, in the KMS test machine; all
//! that is claimed is seen from outside the machine.

mod buffers;
mod display;
mod doctor;
mod edid;
mod input;
mod input_devices;
mod machine;
mod nested;
mod no_copy;
mod outputs;
mod rig;
mod session;
mod sleep;
mod units;
mod vkms;
