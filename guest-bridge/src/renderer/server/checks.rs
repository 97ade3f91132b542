//! Whether numbers make sense: sizes of new resources, boxes of transfers, rectangles to be read back. Pure.
//!
//! phyllome-guest has checked them already; this is done again because the library counts in 32 bits and believes much.

use super::formats::{Block, Order, block, order};
use crate::renderer::limits::target::{self, BUFFER, TEXTURE_2D, TEXTURE_3D, TEXTURE_RECT};
use crate::renderer::limits::{MAX_SAMPLES, MAX_SIDE};
use crate::renderer::wire::{Box3d, Create3d, ReadBack, Transfer3d};
use rustix::io::Errno;

/// Most bytes of one resource.
pub const MAX_RESOURCE: u64 = 2 << 30;

fn when(sane: bool) -> Result<(), Errno> {
    if sane { Ok(()) } else { Err(Errno::INVAL) }
}

/// The side of a mipmap level.
fn level_of(side: u32, level: u32) -> u32 {
    side.checked_shr(level).unwrap_or(0).max(1)
}

/// Bytes that a resource needs at most, as an estimate to count with. EINVAL if it is none, ENOMEM if it is too much.
pub fn create(what: &Create3d) -> Result<u64, Errno> {
    let sides = [what.width, what.height, what.depth, what.array_size];
    when(what.target <= target::LAST && sides.iter().all(|&side| side > 0) && what.samples <= MAX_SAMPLES)?;
    if what.target == BUFFER {
        when(what.height == 1 && what.depth == 1 && what.array_size == 1 && what.last_level == 0)?;
        return if u64::from(what.width) <= MAX_RESOURCE { Ok(what.width.into()) } else { Err(Errno::NOMEM) };
    }
    when(sides.iter().all(|&side| side <= MAX_SIDE))?;
    when(what.depth == 1 || what.target == TEXTURE_3D)?;
    when(what.target != TEXTURE_3D || what.array_size == 1)?;
    let longest = what.width.max(what.height).max(what.depth);
    when(what.last_level <= longest.ilog2())?;
    let block = block(what.format);
    let mut bytes: u128 = 0;
    for level in 0..=what.last_level {
        let (width, height, depth) =
            (level_of(what.width, level), level_of(what.height, level), level_of(what.depth, level));
        bytes += u128::from(blocks(width, block.width, block))
            * u128::from(blocks(height, block.height, block))
            * u128::from(depth);
    }
    bytes *= u128::from(block.most) * u128::from(what.array_size) * u128::from(what.samples.max(1));
    u64::try_from(bytes).ok().filter(|&bytes| bytes <= MAX_RESOURCE).ok_or(Errno::NOMEM)
}

/// Blocks along a side, at most.
fn blocks(side: u32, of: u32, block: Block) -> u32 {
    if block.is_exact() { side.div_ceil(of) } else { side }
}

/// A box lies inside a level of a resource and is not empty.
fn inside(what: &Create3d, level: u32, part: &Box3d) -> Result<(), Errno> {
    let layers = if what.target == TEXTURE_3D { level_of(what.depth, level) } else { what.array_size };
    let fits =
        |start: u32, length: u32, side: u32| length > 0 && start.checked_add(length).is_some_and(|end| end <= side);
    when(
        level <= what.last_level
            && fits(part.x, part.width, level_of(what.width, level))
            && fits(part.y, part.height, level_of(what.height, level))
            && fits(part.z, part.depth, layers),
    )
}

/// A transfer of a resource with a backing of `length` bytes. EINVAL if the box or the bytes are outside.
pub fn transfer(what: &Create3d, transfer: &Transfer3d, length: u64) -> Result<(), Errno> {
    let (part, level) = (&transfer.region, transfer.level);
    inside(what, level, part)?;
    let block = block(what.format);
    let end = |bytes: u32, across: u32, down: u32| {
        let row = |width: u32| u128::from(width.div_ceil(across)) * u128::from(bytes);
        let given = |stride: u32, implied: u128| if stride == 0 { implied } else { stride.into() };
        let stride = given(transfer.stride, row(level_of(what.width, level)));
        let layer = given(transfer.layer_stride, stride * u128::from(level_of(what.height, level).div_ceil(down)));
        let rows = u128::from(part.height.div_ceil(down)) - 1;
        u128::from(transfer.offset) + u128::from(part.depth - 1) * layer + rows * stride + row(part.width)
    };
    when(end(block.least, block.width, block.height) <= length.into())?;
    // What the library counts in 32 bits must not wrap there.
    when(block.is_exact() || end(block.most, 1, 1) <= u32::MAX.into())
}

/// A rectangle that is read back: where it begins in a target of `length` bytes, and whether its bytes must change
/// their order. EINVAL if it is outside, EOPNOTSUPP if the resource is no picture.
pub fn read_back(what: &Create3d, part: &ReadBack, length: u64) -> Result<(u64, Order), Errno> {
    let order = order(what.format).ok_or(Errno::OPNOTSUPP)?;
    if !matches!(what.target, TEXTURE_2D | TEXTURE_RECT) || what.samples > 1 {
        return Err(Errno::OPNOTSUPP);
    }
    inside(what, 0, &Box3d { x: part.x, y: part.y, z: 0, width: part.width, height: part.height, depth: 1 })?;
    let row = u128::from(part.width) * 4;
    when(part.stride.is_multiple_of(4) && part.offset.is_multiple_of(4) && u128::from(part.stride) >= row)?;
    let start = u128::from(part.offset) + u128::from(part.y) * u128::from(part.stride) + u128::from(part.x) * 4;
    let end = start + u128::from(part.height - 1) * u128::from(part.stride) + row;
    when(end <= length.into())?;
    Ok((u64::try_from(start).map_err(|_| Errno::INVAL)?, order))
}

/// A texture that may be exported as a picture.
pub fn exportable(what: &Create3d) -> Result<(), Errno> {
    let picture = matches!(what.target, TEXTURE_2D | TEXTURE_RECT) && what.samples <= 1 && order(what.format).is_some();
    if picture { Ok(()) } else { Err(Errno::OPNOTSUPP) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RGBA: u32 = 67;

    fn texture(width: u32, height: u32) -> Create3d {
        let (depth, array_size, target) = (1, 1, TEXTURE_2D);
        Create3d { target, format: RGBA, bind: 2, width, height, depth, array_size, ..Create3d::default() }
    }

    fn whole(what: &Create3d) -> Transfer3d {
        let region = Box3d { width: what.width, height: what.height, depth: 1, ..Box3d::default() };
        Transfer3d { region, ..Transfer3d::default() }
    }

    #[test]
    fn sizes_are_counted_with_all_levels_layers_and_samples() {
        assert_eq!(create(&texture(64, 32)), Ok(64 * 32 * 4));
        assert_eq!(create(&Create3d { last_level: 1, ..texture(64, 32) }), Ok(64 * 32 * 5));
        assert_eq!(create(&Create3d { samples: 4, ..texture(64, 32) }), Ok(64 * 32 * 16));
        assert_eq!(create(&Create3d { array_size: 6, target: 4, ..texture(64, 64) }), Ok(64 * 64 * 24));
        assert_eq!(create(&Create3d { format: 107, ..texture(65, 64) }), Ok(17 * 16 * 16));
        assert_eq!(create(&Create3d { target: BUFFER, format: 64, ..texture(1 << 20, 1) }), Ok(1 << 20));
    }

    #[test]
    fn resources_that_are_none_or_too_much_are_refused() {
        let sane = texture(64, 64);
        for bad in [
            texture(0, 1),
            texture(1, 0),
            texture(16385, 1),
            texture(u32::MAX, u32::MAX),
            Create3d { depth: 0, ..sane },
            Create3d { depth: 2, ..sane },
            Create3d { array_size: 0, ..sane },
            Create3d { target: 9, ..sane },
            Create3d { last_level: 7, ..sane },
            Create3d { last_level: u32::MAX, ..sane },
            Create3d { samples: u32::MAX, ..sane },
            Create3d { target: BUFFER, ..sane },
        ] {
            assert_eq!(create(&bad), Err(Errno::INVAL), "{bad:?}");
        }
        for big in [
            Create3d { array_size: 16384, target: 7, ..texture(16384, 16384) },
            Create3d { samples: 32, ..texture(16384, 16384) },
            Create3d { target: BUFFER, ..texture(u32::MAX, 1) },
            Create3d { format: 25, ..texture(16384, 16384) },
        ] {
            assert_eq!(create(&big), Err(Errno::NOMEM), "{big:?}");
        }
    }

    #[test]
    fn a_transfer_stays_inside_its_level_and_its_backing() {
        let what = Create3d { last_level: 2, ..texture(64, 32) };
        let good = whole(&what);
        assert_eq!(transfer(&what, &good, 64 * 32 * 4), Ok(()));
        assert_eq!(transfer(&what, &good, 64 * 32 * 4 - 1), Err(Errno::INVAL));
        assert_eq!(transfer(&what, &Transfer3d { offset: 1, ..good }, 64 * 32 * 4), Err(Errno::INVAL));
        assert_eq!(transfer(&what, &Transfer3d { offset: u64::MAX, ..good }, 1 << 30), Err(Errno::INVAL));
        assert_eq!(transfer(&what, &Transfer3d { stride: 512, ..good }, 31 * 512 + 256), Ok(()));
        assert_eq!(transfer(&what, &Transfer3d { stride: 512, ..good }, 31 * 512 + 255), Err(Errno::INVAL));
        assert_eq!(transfer(&what, &Transfer3d { stride: u32::MAX, ..good }, 1 << 31), Err(Errno::INVAL));
        for level in [1, 3, 32, u32::MAX] {
            assert_eq!(transfer(&what, &Transfer3d { level, ..good }, 1 << 30), Err(Errno::INVAL), "{level}");
        }
        let boxes = [
            Box3d { x: 1, ..good.region },
            Box3d { y: 1, ..good.region },
            Box3d { z: 1, ..good.region },
            Box3d { x: u32::MAX, ..good.region },
            Box3d { z: u32::MAX, depth: 2, ..good.region },
            Box3d { width: 0, ..good.region },
            Box3d { height: u32::MAX, ..good.region },
            Box3d { depth: 0, ..good.region },
        ];
        for region in boxes {
            assert_eq!(transfer(&what, &Transfer3d { region, ..good }, 1 << 31), Err(Errno::INVAL), "{region:?}");
        }
    }

    #[test]
    fn what_is_read_back_stays_inside_the_target() {
        let part = ReadBack { x: 4, y: 2, width: 8, height: 4, stride: 256, offset: 16 };
        let end = 16 + 2 * 256 + 16 + 3 * 256 + 32;
        assert_eq!(read_back(&texture(64, 32), &part, end), Ok((16 + 512 + 16, Order::Rgb)));
        assert_eq!(read_back(&texture(64, 32), &part, end - 1), Err(Errno::INVAL));
        for bad in [
            ReadBack { stride: 255, ..part },
            ReadBack { stride: 16, ..part },
            ReadBack { offset: u64::MAX, ..part },
            ReadBack { offset: 2, ..part },
            ReadBack { width: 61, ..part },
            ReadBack { y: u32::MAX, ..part },
            ReadBack { height: 0, ..part },
        ] {
            assert_eq!(read_back(&texture(64, 32), &bad, 1 << 30), Err(Errno::INVAL), "{bad:?}");
        }
        let depth = Create3d { format: 16, ..texture(64, 32) };
        assert_eq!(read_back(&depth, &part, end), Err(Errno::OPNOTSUPP));
    }

    proptest! {
        #[test]
        fn any_numbers_are_answered(numbers: [u32; 24], offset: u64, length: u64) {
            let [target, format, width, height, depth, array_size, last_level, samples, x, y, z, w, h, d, rest @ ..] = numbers;
            let what = Create3d { target: target % 10, format, bind: 1, width, height, depth, array_size, last_level, samples, flags: 0 };
            let _ = create(&what);
            let region = Box3d { x, y, z, width: w, height: h, depth: d };
            let [level, stride, layer_stride, ..] = rest;
            let _ = transfer(&what, &Transfer3d { context: 1, region, offset, level, stride, layer_stride }, length);
            let _ = read_back(&what, &ReadBack { x, y, width: w, height: h, stride, offset }, length);
        }
    }
}
