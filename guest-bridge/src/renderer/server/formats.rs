//! How many bytes a block of texels has, by virgl's format numbers (gallium's).
//!
//! Formats that are rare or mean different things in different versions get bounds instead of numbers, so that no check
//! is too strict for an honest guest or too lax for the library's 32-bit sums.

/// A block of texels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Texels; at most this many where the bytes are not exact.
    pub width: u32,
    /// Texels; at most this many where the bytes are not exact.
    pub height: u32,
    /// Bytes, at least.
    pub least: u32,
    /// Bytes, at most; of one texel where it differs from `least`.
    pub most: u32,
}

impl Block {
    /// The bytes are known.
    pub fn is_exact(self) -> bool {
        self.least == self.most
    }
}

/// The block of a virgl format.
pub fn block(format: u32) -> Block {
    let compressed = |bytes| Block { width: 4, height: 4, least: bytes, most: bytes };
    let bytes = match format {
        9..=11 | 23 | 64 | 69 | 74 | 82 | 95 | 147 | 148 | 150 | 177 | 181 | 201..=203 | 205..=207 | 312 => 1,
        5..=7 | 12 | 13 | 16 | 48 | 52 | 56 | 60 | 65 | 70 | 75 | 83 | 91 | 96 | 122 | 135 | 141 | 142 => 2,
        149 | 151 | 152 | 154 | 155 | 156 | 158 | 178 | 182 | 185 | 189 | 204 | 208..=211 | 213..=215 => 2,
        242 | 247 | 248 | 254 | 313 => 2,
        66 | 71 | 76 | 84 | 97 | 179 | 183 | 317 => 3,
        1..=4 | 8 | 17..=22 | 28 | 32 | 36 | 40 | 44 | 49 | 53 | 57 | 61 | 67 | 68 | 72 | 77 | 85 | 87 | 92 => 4,
        98..=104 | 121 | 123..=125 | 128 | 129 | 131 | 134 | 136 | 137 | 140 | 153 | 157 | 159..=161 => 4,
        172..=176 | 180 | 184 | 186 | 190 | 193 | 197 | 212 | 216..=219 | 221..=223 | 225 | 229..=233 => 4,
        243..=245 | 249 | 250 | 253 | 308 => 4,
        50 | 54 | 58 | 62 | 93 | 187 | 191 => 6,
        24 | 29 | 33 | 37 | 41 | 45 | 51 | 55 | 59 | 63 | 88 | 94 | 126 | 162 | 188 | 192 | 194 | 198 | 220 | 224 => 8,
        234..=238 | 246 | 251 | 252 => 8,
        30 | 34 | 38 | 42 | 46 | 89 | 195 | 199 => 12,
        31 | 35 | 39 | 43 | 47 | 90 | 196 | 200 | 239..=241 => 16,
        105 | 106 | 109 | 110 | 113 | 114 | 143 | 144 | 226 | 269..=272 | 275 | 276 => return compressed(8),
        107 | 108 | 111 | 112 | 115 | 116 | 145 | 146 | 255..=258 | 273 | 274 | 277..=279 | 293 => {
            return compressed(16);
        }
        _ => return Block { width: 12, height: 12, least: 1, most: 32 },
    };
    Block { width: 1, height: 1, least: bytes, most: bytes }
}

/// The order of the bytes of a pixel that can be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// B, G, R and a fourth.
    Bgr,
    /// R, G, B and a fourth.
    Rgb,
}

/// The order of a format's bytes; `None` if it cannot be shown.
pub fn order(format: u32) -> Option<Order> {
    match format {
        // B8G8R8A8 and B8G8R8X8, UNORM and SRGB.
        1 | 2 | 100 | 101 => Some(Order::Bgr),
        // R8G8B8A8 and R8G8B8X8, UNORM and SRGB.
        67 | 104 | 134 | 230 => Some(Order::Rgb),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_shown_has_four_bytes() {
        let shown = (0..400).filter(|&format| order(format).is_some());
        assert!(shown.clone().count() == 8 && shown.map(block).all(|block| block.least == 4 && block.is_exact()));
    }

    #[test]
    fn blocks_are_never_empty() {
        assert!((0..1000).map(block).all(|b| b.width > 0 && b.height > 0 && b.least > 0 && b.least <= b.most));
        assert_eq!(block(279), Block { width: 4, height: 4, least: 16, most: 16 });
    }
}
