//! Limits the memory that glibc's allocator keeps. Other C libraries have no such settings, and keep less.

/// Makes all threads allocate from the same `arenas` (at least one). By default glibc gives each thread its own arena,
/// up to eight per processor, and memory that is free in one arena is of no use to the others.
///
/// Call it before the first thread starts.
pub fn limit_arenas(arenas: i32) {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt(3) takes two numbers and changes only what the allocator does later.
    let _ = unsafe { libc::mallopt(libc::M_ARENA_MAX, arenas) };
    #[cfg(not(target_env = "gnu"))]
    let _ = arenas;
}

/// Gives free memory of the heap back to the kernel.
pub fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim(3) releases only pages that belong to no allocation, under the allocator's own locks.
    let _ = unsafe { libc::malloc_trim(0) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_env = "gnu")]
    fn free_memory_below_what_is_in_use_goes_back_to_the_kernel() {
        limit_arenas(1);
        // Each block is too small for a mapping of its own. Every hundredth stays, so that the heap cannot shrink from
        // its end.
        let mut blocks: Vec<Vec<u8>> = (0..4_000).map(|_| vec![1; 16 << 10]).collect();
        let full = anonymous_kib();
        let mut n = 0_u32;
        blocks.retain(|_| {
            n = n.wrapping_add(1);
            n.is_multiple_of(100)
        });

        trim_heap();

        let trimmed = anonymous_kib();
        assert!(trimmed + 32_000 < full, "{full} KiB before, {trimmed} KiB after");
        assert_eq!(blocks.len(), 40);
    }

    #[cfg(target_env = "gnu")]
    fn anonymous_kib() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}
