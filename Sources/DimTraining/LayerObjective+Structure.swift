import DimArchitecture
import DimModel
import DimOperators
import DimRuntime

/// The structure terms (arXiv:1808.06670, section 4.3), and the choice of locations.
extension LayerObjective {
    // MARK: Occlusion

    /// The images with a box of half their height and width filled with the mean, which is 0 once normalised: tops of all boxes
    /// are drawn, then their left sides, each 32 random bits mod the number of places.
    func occluded(
        _ images: UnsafePointer<Float>, _ n: Int, _ random: inout MersenneTwister
    ) throws -> UnsafePointer<Float> {
        let image = plan.resolved.image
        let copy = try arena.floats(plan.slots[.occludedImages], n * image.size)
        copy.update(from: images, count: n * image.size)
        let (height, width) = (image.height / 2, image.width / 2)
        try requireMemory(2 * n * MemoryLayout<Int>.stride)
        let tops = (0..<n).map { _ in Int(random.next() % UInt32(image.height - height + 1)) }
        for (i, top) in tops.enumerated() {
            let left = Int(random.next() % UInt32(image.width - width + 1))
            for channel in 0..<image.channels {
                let plane = copy + i * image.size + channel * image.pixels
                for row in top..<top + height {
                    (plane + row * image.width + left)
                        .update(repeating: mean.isEmpty ? 0 : mean[channel], count: width)
                }
            }
        }
        return UnsafePointer(copy)
    }

    private var mean: [Float] { plan.mean }

    // MARK: Locations

    /// For each image the first `count` of its map's cells in the order of torch.randperm.
    func drawnLocations(_ n: Int, _ count: Int, _ random: inout MersenneTwister) throws -> [Int] {
        let cells = plan.features.output.pixels
        try requireMemory((2 * n * count + cells) * MemoryLayout<Int>.stride)
        var chosen: [Int] = []
        for _ in 0..<n {
            var order = Array(0..<cells)
            for i in 0..<cells - 1 { order.swapAt(i, i + Int(random.next() % UInt32(cells - i))) }
            chosen += order[..<count]
        }
        return chosen
    }

    /// A map's columns at these cells, (n, c, count, 1).
    func chosen(_ map: Activation, _ cells: [Int], into slot: BufferSlot, _ arena: Arena) throws -> Activation {
        let count = cells.count / map.images
        let column = try arena.activation(slot, map.shape.column(count), images: map.images)
        for block in 0..<map.blocks {
            for (row, cell) in cells.enumerated() {
                (column.block(block) + row * 16).update(
                    from: map.block(block) + (row / count * map.shape.pixels + cell) * 16, count: 16)
            }
        }
        return column
    }

    /// The same of planes (n, c, h, w).
    func chosen(_ planes: Buffer, _ cells: [Int], images n: Int) throws -> Buffer {
        let map = plan.features.output
        let count = cells.count / n
        let column = try Buffer(uninitialized: n * map.channels * count)
        for plane in 0..<n * map.channels {
            for l in 0..<count {
                column.pointer[plane * count + l] =
                    planes.pointer[plane * map.pixels + cells[plane / map.channels * count + l]]
            }
        }
        return column
    }

    /// Adds the gradient of chosen columns to the map's.
    func spread(_ column: Activation, _ cells: [Int], into map: Activation) {
        let count = cells.count / map.images
        for block in 0..<map.blocks {
            for (row, cell) in cells.enumerated() {
                let target = map.block(block) + (row / count * map.shape.pixels + cell) * 16
                let source = column.block(block) + row * 16
                for c in 0..<16 { target[c] += source[c] }
            }
        }
    }

    // MARK: Coordinates

    /// The mean over all locations. The relative ones' partners are drawn, for each cell one of all cells of its image.
    func coordinates(
        _ pass: PairHeadPass, _ options: TrainerOptions, _ gradients: Gradients?, _ random: inout MersenneTwister
    ) throws -> Double {
        let (n, cells) = (pass.map.images, pass.head.locations)
        var partners: [UInt32]?
        if options.coordinates == .relative {
            try requireMemory(n * cells * MemoryLayout<UInt32>.stride)
            partners = (0..<n * cells).map { _ in random.next() % UInt32(cells) }
        }
        let scale = options.coordinatesWeight / Double(n * cells)
        var sum = 0.0
        func add(_ out: Activation, _ from: Int, _ gradient: Activation?) throws {
            func term(_ partners: UnsafePointer<UInt32>?) throws -> Double {
                try options.coordinates.sum(
                    out, rows: pass.head.grid.height, partners: partners.map { $0 + from * cells },
                    gradient: gradient, scale: scale)
            }
            sum += try partners?.withUnsafeBufferPointer { try term($0.baseAddress) } ?? term(nil)
        }
        if let gradients {
            try pass.backwardConcat(pairs: 0..<n, gradients) { out, from, _, gradient in
                try add(out, from, gradient)
            }
        } else {
            try pass.forEachOutput(pairs: 0..<n) { out, from, _ in try add(out, from, nil) }
        }
        return sum / Double(n * cells)
    }
}
