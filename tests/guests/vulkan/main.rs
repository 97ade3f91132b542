//! Computes with Vulkan in a guest, so that a test knows that numbers which the guest's processor wrote were seen by
//! the device, and that what the device made of them is seen by the guest. Runs in guests of the tests only; the Vulkan
//! loader is opened at run time.
//!
//! `phyllome-vulkan-sums [ROUNDS]` prints `DEVICE name`, `RIGHT count` after each round, and `DONE`; or what is wrong,
//! and ends with 1.

use ash::{Device, Entry, Instance, vk};
use std::time::Instant;

/// Numbers in the buffer.
const COUNT: usize = 65536;
/// Numbers of a workgroup, as in sums.comp.
const GROUP: usize = 64;
/// Nanoseconds that the device may take.
const PATIENCE: u64 = 60_000_000_000;

type Failure = Box<dyn std::error::Error>;

fn main() {
    if let Err(error) = run() {
        eprintln!("phyllome-vulkan-sums: {error}");
        std::process::exit(1);
    }
}

/// What number `place` of a round is at first.
fn before(place: usize, round: u32) -> u32 {
    (place as u32).wrapping_mul(2_654_435_761).wrapping_add(round)
}

/// And what the shader makes of it.
fn after(place: usize, round: u32) -> u32 {
    let steps = 0..place & 7;
    let number = steps.fold(before(place, round), |n, _| n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    number ^ place as u32
}

fn run() -> Result<(), Failure> {
    let rounds: u32 = std::env::args().nth(1).map_or(Ok(1), |rounds| rounds.parse())?;
    // SAFETY: the loader's and its drivers' constructors are those of any program that links Vulkan.
    let entry = unsafe { Entry::load() }?;
    let application = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_1);
    let create = vk::InstanceCreateInfo::default().application_info(&application);
    // SAFETY: this and all below follow Vulkan's rules of use: handles are made before and destroyed after their use,
    // structures are whole and outlive their call, and memory that the device writes is read after its fence alone.
    unsafe {
        let instance = entry.create_instance(&create, None)?;
        let physical = *instance.enumerate_physical_devices()?.first().ok_or("no device")?;
        let properties = instance.get_physical_device_properties(physical);
        println!("DEVICE {}", properties.device_name_as_c_str()?.to_string_lossy());
        let families = instance.get_physical_device_queue_family_properties(physical);
        let can = |family: &vk::QueueFamilyProperties| family.queue_flags.contains(vk::QueueFlags::COMPUTE);
        let family = families.iter().position(can).ok_or("no queue computes")? as u32;
        let queues = [vk::DeviceQueueCreateInfo::default().queue_family_index(family).queue_priorities(&[1.0])];
        let device =
            instance.create_device(physical, &vk::DeviceCreateInfo::default().queue_create_infos(&queues), None)?;
        let done = compute(&instance, physical, &device, family, rounds);
        device.device_wait_idle()?;
        device.destroy_device(None);
        instance.destroy_instance(None);
        done?;
    }
    println!("DONE");
    Ok(())
}

/// # Safety
/// As Vulkan's: the handles belong to one another.
unsafe fn compute(
    instance: &Instance,
    physical: vk::PhysicalDevice,
    device: &Device,
    family: u32,
    rounds: u32,
) -> Result<(), Failure> {
    let bytes = (COUNT * size_of::<u32>()) as u64;
    // SAFETY: as in `run`.
    unsafe {
        let usage = vk::BufferUsageFlags::STORAGE_BUFFER;
        let buffer = device.create_buffer(&vk::BufferCreateInfo::default().size(bytes).usage(usage), None)?;
        let needs = device.get_buffer_memory_requirements(buffer);
        let types = instance.get_physical_device_memory_properties(physical);
        let wanted = vk::MemoryPropertyFlags::HOST_VISIBLE | vk::MemoryPropertyFlags::HOST_COHERENT;
        let fits = |(at, kind): &(usize, &vk::MemoryType)| {
            needs.memory_type_bits & 1 << at != 0 && kind.property_flags.contains(wanted)
        };
        let kind = types.memory_types_as_slice().iter().enumerate().find(fits).ok_or("no memory can be mapped")?.0;
        let allocate = vk::MemoryAllocateInfo::default().allocation_size(needs.size).memory_type_index(kind as u32);
        let memory = device.allocate_memory(&allocate, None)?;
        device.bind_buffer_memory(buffer, memory, 0)?;
        let mapped = device.map_memory(memory, 0, bytes, vk::MemoryMapFlags::empty())?.cast::<u32>();

        let code = ash::util::read_spv(&mut std::io::Cursor::new(include_bytes!("sums.spv")))?;
        let shader = device.create_shader_module(&vk::ShaderModuleCreateInfo::default().code(&code), None)?;
        let bindings = [vk::DescriptorSetLayoutBinding::default()
            .descriptor_type(vk::DescriptorType::STORAGE_BUFFER)
            .descriptor_count(1)
            .stage_flags(vk::ShaderStageFlags::COMPUTE)];
        let layouts = [device
            .create_descriptor_set_layout(&vk::DescriptorSetLayoutCreateInfo::default().bindings(&bindings), None)?];
        let layout =
            device.create_pipeline_layout(&vk::PipelineLayoutCreateInfo::default().set_layouts(&layouts), None)?;
        let stage = vk::PipelineShaderStageCreateInfo::default()
            .stage(vk::ShaderStageFlags::COMPUTE)
            .module(shader)
            .name(c"main");
        let pipelines = [vk::ComputePipelineCreateInfo::default().stage(stage).layout(layout)];
        let pipeline = device
            .create_compute_pipelines(vk::PipelineCache::null(), &pipelines, None)
            .map_err(|(_, error)| error)?
            .first()
            .copied()
            .ok_or("no pipeline")?;
        let sizes = [vk::DescriptorPoolSize::default().ty(vk::DescriptorType::STORAGE_BUFFER).descriptor_count(1)];
        let pool = device
            .create_descriptor_pool(&vk::DescriptorPoolCreateInfo::default().max_sets(1).pool_sizes(&sizes), None)?;
        let set = device.allocate_descriptor_sets(
            &vk::DescriptorSetAllocateInfo::default().descriptor_pool(pool).set_layouts(&layouts),
        )?;
        let buffers = [vk::DescriptorBufferInfo::default().buffer(buffer).range(vk::WHOLE_SIZE)];
        let write = vk::WriteDescriptorSet::default()
            .dst_set(set[0])
            .descriptor_type(vk::DescriptorType::STORAGE_BUFFER)
            .buffer_info(&buffers);
        device.update_descriptor_sets(&[write], &[]);

        let commands =
            device.create_command_pool(&vk::CommandPoolCreateInfo::default().queue_family_index(family), None)?;
        let command = device.allocate_command_buffers(
            &vk::CommandBufferAllocateInfo::default().command_pool(commands).command_buffer_count(1),
        )?[0];
        device.begin_command_buffer(command, &vk::CommandBufferBeginInfo::default())?;
        let seen = |from: (vk::PipelineStageFlags, vk::AccessFlags), to: (vk::PipelineStageFlags, vk::AccessFlags)| {
            let barrier = [vk::MemoryBarrier::default().src_access_mask(from.1).dst_access_mask(to.1)];
            device.cmd_pipeline_barrier(command, from.0, to.0, vk::DependencyFlags::empty(), &barrier, &[], &[]);
        };
        let shader_access = vk::AccessFlags::SHADER_READ | vk::AccessFlags::SHADER_WRITE;
        let host_access = vk::AccessFlags::HOST_READ | vk::AccessFlags::HOST_WRITE;
        let (on_host, in_shader) =
            ((vk::PipelineStageFlags::HOST, host_access), (vk::PipelineStageFlags::COMPUTE_SHADER, shader_access));
        seen(on_host, in_shader);
        device.cmd_bind_pipeline(command, vk::PipelineBindPoint::COMPUTE, pipeline);
        device.cmd_bind_descriptor_sets(command, vk::PipelineBindPoint::COMPUTE, layout, 0, &set, &[]);
        device.cmd_dispatch(command, (COUNT / GROUP) as u32, 1, 1);
        seen(in_shader, on_host);
        device.end_command_buffer(command)?;

        let queue = device.get_device_queue(family, 0);
        let fence = device.create_fence(&vk::FenceCreateInfo::default(), None)?;
        for round in 0..rounds {
            let start = Instant::now();
            for place in 0..COUNT {
                mapped.add(place).write_volatile(before(place, round));
            }
            let submitted = [command];
            device.queue_submit(queue, &[vk::SubmitInfo::default().command_buffers(&submitted)], fence)?;
            device.wait_for_fences(&[fence], true, PATIENCE)?;
            device.reset_fences(&[fence])?;
            let wrong = (0..COUNT).find(|&place| mapped.add(place).read_volatile() != after(place, round));
            if let Some(place) = wrong {
                let found = mapped.add(place).read_volatile();
                return Err(format!("round {round}: number {place} is {found}, not {}", after(place, round)).into());
            }
            println!("RIGHT {COUNT} after {} us", start.elapsed().as_micros());
        }
        device.destroy_fence(fence, None);
        device.destroy_command_pool(commands, None);
        device.destroy_descriptor_pool(pool, None);
        device.destroy_pipeline(pipeline, None);
        device.destroy_pipeline_layout(layout, None);
        device.destroy_descriptor_set_layout(layouts[0], None);
        device.destroy_shader_module(shader, None);
        device.unmap_memory(memory);
        device.destroy_buffer(buffer, None);
        device.free_memory(memory, None);
    }
    Ok(())
}
