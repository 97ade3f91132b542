//! The scene: a square of another colour in each corner, so that a picture that is turned over, shifted or of swapped
//! colours is seen as such; a chequered texture; and two triangles of mixed colours that turn by three degrees a frame,
//! one before the other.
//!
//! The same frame is the same picture, but for what rasterizers may choose at edges.

use crate::gles::{COLOR, COLOR_AND_DEPTH, Gles};

/// Ready to be drawn.
pub struct Scene {
    /// What it is drawn with.
    pub gles: Gles,
    mixed: (u32, i32),
    textured: (u32, i32),
}

const VERTEX: &std::ffi::CStr = c"attribute vec3 position; attribute vec3 extra; uniform vec4 turn; varying vec3 given;
void main() {
    vec2 at = vec2(position.x * turn.x - position.y * turn.y, position.x * turn.y + position.y * turn.x);
    gl_Position = vec4(at.x * turn.z, at.y, position.z, 1.0);
    given = extra;
}";
const MIXED: &std::ffi::CStr = c"precision mediump float; varying vec3 given;
void main() { gl_FragColor = vec4(given, 1.0); }";
const TEXTURED: &std::ffi::CStr = c"precision mediump float; varying vec3 given; uniform sampler2D picture;
void main() { gl_FragColor = texture2D(picture, given.xy); }";

const SIDE: usize = 8;

impl Scene {
    /// Compiles and uploads.
    pub fn new(gles: Gles) -> Result<Self, String> {
        let mixed = gles.program(VERTEX, MIXED)?;
        let textured = gles.program(VERTEX, TEXTURED)?;
        let chequered = |at: usize| {
            if (at % SIDE + at / SIDE).is_multiple_of(2) { [255, 0, 255, 255] } else { [255, 255, 255, 255] }
        };
        gles.texture(SIDE, &(0..SIDE * SIDE).map(chequered).collect::<Vec<_>>())?;
        Ok(Self { gles, mixed, textured })
    }

    /// Draws a frame.
    pub fn draw(&self, frame: u32, width: u32, height: u32) {
        let gles = &self.gles;
        gles.viewport(width, height);
        gles.clear(COLOR_AND_DEPTH, [0.2, 0.2, 0.2], None);
        let (w, h) = (width / 8, height / 8);
        let corners = [
            ([0, height - h], [1.0, 0.0, 0.0]),
            ([width - w, height - h], [0.0, 1.0, 0.0]),
            ([0, 0], [0.0, 0.0, 1.0]),
            ([width - w, 0], [1.0, 1.0, 0.0]),
        ];
        for ([x, y], colour) in corners {
            gles.clear(COLOR, colour, Some([x, y, w, h]));
        }
        let aspect = height as f32 / width as f32;
        let texture = [[-1.0, 0.0], [-0.5, 0.0], [-0.5, 0.5], [-1.0, 0.0], [-0.5, 0.5], [-1.0, 0.5]];
        let texture = texture.map(|[x, y]: [f32; 2]| [x, y, 0.0, (x + 1.0) * 2.0, y * 2.0, 0.0]);
        gles.triangles(self.textured, 0.0, aspect, &texture);
        let angle = (frame as f32 * 3.0).to_radians();
        let front =
            [[0.7, 0.0, -0.5, 1.0, 0.0, 0.0], [-0.4, 0.6, -0.5, 0.0, 1.0, 0.0], [-0.4, -0.6, -0.5, 0.0, 0.0, 1.0]];
        let behind = [[-0.7, 0.0, 0.5, 0.0, 1.0, 1.0], [0.4, -0.6, 0.5, 1.0, 0.0, 1.0], [0.4, 0.6, 0.5, 1.0, 1.0, 0.0]];
        gles.triangles(self.mixed, angle, aspect, &front);
        gles.triangles(self.mixed, -angle, aspect, &behind);
    }
}
