#version 450
// Steps of a generator of numbers, as many as the lower bits of the number's place; main.rs does the same. Compiled into sums.spv by
// glslangValidator -V --target-env vulkan1.0 sums.comp -o sums.spv
layout(local_size_x = 64) in;
layout(set = 0, binding = 0) buffer Data { uint numbers[]; };

void main() {
    uint place = gl_GlobalInvocationID.x;
    uint number = numbers[place];
    for (uint step = 0u; step < (place & 7u); step++) {
        number = number * 1664525u + 1013904223u;
    }
    numbers[place] = number ^ place;
}
