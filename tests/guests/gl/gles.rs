//! The functions of GLES 2 that the scene needs (`GLES2/gl2.h`), each behind a safe one that takes what it needs.
//!
//! A context must be current on the only thread that there is.

use crate::egl::Library;
use crate::function;
use std::ffi::{CStr, c_char, c_void};

/// GL_COLOR_BUFFER_BIT and GL_DEPTH_BUFFER_BIT.
pub const COLOR_AND_DEPTH: u32 = 0x4000 | 0x100;
/// GL_COLOR_BUFFER_BIT.
pub const COLOR: u32 = 0x4000;
/// GL_DEPTH_TEST.
pub const DEPTH_TEST: u32 = 0x0b71;
/// GL_SCISSOR_TEST.
pub const SCISSOR_TEST: u32 = 0x0c11;

const FLOAT: u32 = 0x1406;
const RGBA: u32 = 0x1908;
const UNSIGNED_BYTE: u32 = 0x1401;
const TEXTURE_2D: u32 = 0x0de1;

/// GLES 2 of the current context.
pub struct Gles {
    library: Library,
    clear_color: unsafe extern "C" fn(f32, f32, f32, f32),
    clear: unsafe extern "C" fn(u32),
    viewport: unsafe extern "C" fn(i32, i32, i32, i32),
    scissor: unsafe extern "C" fn(i32, i32, i32, i32),
    enable: unsafe extern "C" fn(u32),
    disable: unsafe extern "C" fn(u32),
    use_program: unsafe extern "C" fn(u32),
    uniform: unsafe extern "C" fn(i32, f32, f32, f32, f32),
    pointer: unsafe extern "C" fn(u32, i32, u32, u8, i32, *const c_void),
    enable_array: unsafe extern "C" fn(u32),
    draw: unsafe extern "C" fn(u32, i32, i32),
    read: unsafe extern "C" fn(i32, i32, i32, i32, u32, u32, *mut c_void),
    finish: unsafe extern "C" fn(),
}

impl Gles {
    /// Opens the library and prints GL's strings.
    pub fn open() -> Result<Self, String> {
        let library = Library::open(c"libGLESv2.so.2")?;
        let get_string = function!(library, c"glGetString": fn(u32) -> *const c_char);
        for (name, key) in [("GL_VENDOR", 0x1f00), ("GL_RENDERER", 0x1f01), ("GL_VERSION", 0x1f02)] {
            // SAFETY: a context is current; the text is GL's own and lives as long as it.
            let text = unsafe { get_string(key) };
            if text.is_null() {
                return Err("no GL context is current".to_owned());
            }
            // SAFETY: not null, and GL's strings are ended by a zero.
            println!("{name}: {}", unsafe { CStr::from_ptr(text) }.to_string_lossy());
        }
        Ok(Self {
            library,
            clear_color: function!(library, c"glClearColor": fn(f32, f32, f32, f32)),
            clear: function!(library, c"glClear": fn(u32)),
            viewport: function!(library, c"glViewport": fn(i32, i32, i32, i32)),
            scissor: function!(library, c"glScissor": fn(i32, i32, i32, i32)),
            enable: function!(library, c"glEnable": fn(u32)),
            disable: function!(library, c"glDisable": fn(u32)),
            use_program: function!(library, c"glUseProgram": fn(u32)),
            uniform: function!(library, c"glUniform4f": fn(i32, f32, f32, f32, f32)),
            pointer: function!(library, c"glVertexAttribPointer": fn(u32, i32, u32, u8, i32, *const c_void)),
            enable_array: function!(library, c"glEnableVertexAttribArray": fn(u32)),
            draw: function!(library, c"glDrawArrays": fn(u32, i32, i32)),
            read: function!(library, c"glReadPixels": fn(i32, i32, i32, i32, u32, u32, *mut c_void)),
            finish: function!(library, c"glFinish": fn()),
        })
    }

    /// Compiles and links a program; attribute 0 is `position`, attribute 1 `extra`. Gives it and the place of uniform
    /// `turn`.
    pub fn program(&self, vertex: &CStr, fragment: &CStr) -> Result<(u32, i32), String> {
        let library = self.library;
        let create = function!(library, c"glCreateProgram": fn() -> u32);
        let create_shader = function!(library, c"glCreateShader": fn(u32) -> u32);
        let source = function!(library, c"glShaderSource": fn(u32, i32, *const *const c_char, *const i32));
        let compile = function!(library, c"glCompileShader": fn(u32));
        let attach = function!(library, c"glAttachShader": fn(u32, u32));
        let bind = function!(library, c"glBindAttribLocation": fn(u32, u32, *const c_char));
        let link = function!(library, c"glLinkProgram": fn(u32));
        let ask = function!(library, c"glGetProgramiv": fn(u32, u32, *mut i32));
        let place = function!(library, c"glGetUniformLocation": fn(u32, *const c_char) -> i32);
        let mut linked = 0;
        // SAFETY: a context is current; all texts are C strings that outlive the calls; 0x8b31 and 0x8b30 are the kinds
        // of shaders, 0x8b82 is GL_LINK_STATUS, which is one integer.
        let (program, turn) = unsafe {
            let program = create();
            for (kind, text) in [(0x8b31, vertex), (0x8b30, fragment)] {
                let shader = create_shader(kind);
                source(shader, 1, &text.as_ptr(), std::ptr::null());
                compile(shader);
                attach(program, shader);
            }
            bind(program, 0, c"position".as_ptr());
            bind(program, 1, c"extra".as_ptr());
            link(program);
            ask(program, 0x8b82, &mut linked);
            (program, place(program, c"turn".as_ptr()))
        };
        if linked == 0 { Err("a shader does not compile or link".to_owned()) } else { Ok((program, turn)) }
    }

    /// Uploads a square texture without filters and binds it.
    pub fn texture(&self, size: usize, pixels: &[[u8; 4]]) -> Result<(), String> {
        assert_eq!(pixels.len(), size * size);
        let library = self.library;
        let generate = function!(library, c"glGenTextures": fn(i32, *mut u32));
        let bind = function!(library, c"glBindTexture": fn(u32, u32));
        let parameter = function!(library, c"glTexParameteri": fn(u32, u32, i32));
        let upload = function!(library, c"glTexImage2D": fn(u32, i32, i32, i32, i32, i32, u32, u32, *const c_void));
        let mut texture = 0;
        let (side, format) = (size as i32, RGBA as i32);
        // SAFETY: one name is written to one integer; the pixels are as many as the size says. 0x2600 is GL_NEAREST for
        // both filters.
        unsafe {
            generate(1, &mut texture);
            bind(TEXTURE_2D, texture);
            parameter(TEXTURE_2D, 0x2801, 0x2600);
            parameter(TEXTURE_2D, 0x2800, 0x2600);
            upload(TEXTURE_2D, 0, format, side, side, 0, RGBA, UNSIGNED_BYTE, pixels.as_ptr().cast());
        }
        Ok(())
    }

    /// Fills the buffers (only a rectangle of pixels, from below, where one is given) with a colour.
    pub fn clear(&self, buffers: u32, [r, g, b]: [f32; 3], rectangle: Option<[u32; 4]>) {
        // SAFETY: a context is current; all take numbers.
        unsafe {
            if let Some([x, y, width, height]) = rectangle {
                (self.enable)(SCISSOR_TEST);
                (self.scissor)(x as i32, y as i32, width as i32, height as i32);
            }
            (self.clear_color)(r, g, b, 1.0);
            (self.clear)(buffers);
            (self.disable)(SCISSOR_TEST);
        }
    }

    /// Draws on a rectangle of this size, with a depth test.
    pub fn viewport(&self, width: u32, height: u32) {
        // SAFETY: a context is current; both take numbers.
        unsafe {
            (self.viewport)(0, 0, width as i32, height as i32);
            (self.enable)(DEPTH_TEST);
        }
    }

    /// Draws triangles: each corner has a place (three numbers) and three more.
    pub fn triangles(&self, (program, turn): (u32, i32), angle: f32, aspect: f32, corners: &[[f32; 6]]) {
        let stride = size_of::<[f32; 6]>() as i32;
        // SAFETY: the program is this context's; the corners outlive the draw call, which reads as many as there are.
        unsafe {
            (self.use_program)(program);
            (self.uniform)(turn, angle.cos(), angle.sin(), aspect, 0.0);
            let at = corners.as_ptr().cast::<f32>();
            (self.pointer)(0, 3, FLOAT, 0, stride, at.cast());
            (self.pointer)(1, 3, FLOAT, 0, stride, at.add(3).cast());
            (self.enable_array)(0);
            (self.enable_array)(1);
            (self.draw)(4, 0, corners.len() as i32);
        }
    }

    /// Waits until all is drawn.
    pub fn finish(&self) {
        // SAFETY: a context is current.
        unsafe { (self.finish)() }
    }

    /// The picture: red, green, blue, alpha, bottom row first.
    pub fn read_pixels(&self, width: u32, height: u32) -> Vec<u8> {
        let mut pixels = vec![0; width as usize * height as usize * 4];
        // SAFETY: the memory has four bytes for each pixel of the rectangle, and rows of such pixels need no padding.
        unsafe { (self.read)(0, 0, width as i32, height as i32, RGBA, UNSIGNED_BYTE, pixels.as_mut_ptr().cast()) };
        pixels
    }
}
