// Operations on whole activations, a vector at a time. Add a function here and a line in KernelTable for each.

/// The sums over `pixels` pixels of a block of 16 channels, (pixel, 16), into 16 floats.
package func sumPixels(_ source: UnsafePointer<Float>, _ pixels: Int, _ sums: UnsafeMutablePointer<Float>) {
    var lane = 0
    while lane < 16 {
        // Four chains hide the additions' latency and round less than one.
        var s0 = Vector.zero, s1 = Vector.zero, s2 = Vector.zero, s3 = Vector.zero
        var p = source + lane
        var left = pixels
        while left >= 4 {
            s0 += load(p)
            s1 += load(p + 16)
            s2 += load(p + 32)
            s3 += load(p + 48)
            p += 64
            left &-= 4
        }
        while left > 0 {
            s0 += load(p)
            p += 16
            left &-= 1
        }
        store((s0 + s1) + (s2 + s3), sums + lane)
        lane &+= lanes
    }
}
