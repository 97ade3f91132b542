//! Which finger is the pointer. Pure. One at a time: the first that touches, until it is lifted; what the others do
//! means nothing, so that there are never two pointers.

use phyllome_trusted::held::DeviceId;
use smithay::backend::input::TouchSlot;

/// The finger that is the pointer.
#[derive(Debug, Default)]
pub struct Touch {
    finger: Option<(DeviceId, TouchSlot)>,
}

impl Touch {
    /// A finger touches; `true`: it is the pointer from now on.
    pub fn down(&mut self, device: DeviceId, slot: TouchSlot) -> bool {
        let free = self.finger.is_none();
        if free {
            self.finger = Some((device, slot));
        }
        free
    }

    /// Whether this finger is the pointer.
    pub fn is_pointer(&self, device: DeviceId, slot: TouchSlot) -> bool {
        self.finger == Some((device, slot))
    }

    /// A finger was lifted, or the screen takes it back; `true`: it was the pointer.
    pub fn up(&mut self, device: DeviceId, slot: TouchSlot) -> bool {
        let was = self.is_pointer(device, slot);
        if was {
            self.finger = None;
        }
        was
    }

    /// The screen is gone.
    pub fn unplugged(&mut self, device: DeviceId) {
        self.finger = self.finger.filter(|(owner, _)| *owner != device);
    }

    /// All devices are lost.
    pub fn clear(&mut self) {
        self.finger = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_finger_is_the_pointer_until_it_is_lifted() {
        let (screen, other) = (DeviceId::ONLY, DeviceId::ONLY.next());
        let slot = |number: u32| TouchSlot::from(Some(number));
        let mut touch = Touch::default();
        assert!(touch.down(screen, slot(0)));
        assert!(!touch.down(screen, slot(1)) && !touch.down(other, slot(0)));
        assert!(touch.is_pointer(screen, slot(0)) && !touch.is_pointer(screen, slot(1)));
        assert!(!touch.up(screen, slot(1)) && !touch.up(other, slot(0)));
        assert!(touch.up(screen, slot(0)) && !touch.up(screen, slot(0)));
        assert!(touch.down(other, slot(3)));
        touch.unplugged(screen);
        assert!(touch.is_pointer(other, slot(3)));
        touch.unplugged(other);
        assert!(!touch.is_pointer(other, slot(3)));
    }
}
