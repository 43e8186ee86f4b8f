import CHDF5
import CZlib
import DimRuntime
import Glibc

/// Reads the data of stored arrays, piece by piece through scratch memory that stays in the cache, where each piece is
/// checked and converted. libhdf5 only says where chunks are. It decodes nothing, since its decoder allocates without
/// limit on a deflate bomb, and leaves uninitialised memory in chunks that decompress to less than their size.
final class ArrayReader {
    /// A piece of data in the file's own type and byte order: `count` elements from `first` on, in C order.
    typealias Piece = (_ first: Int, _ data: UnsafeRawPointer, _ count: Int) -> Void

    /// Bytes that are read at once where the file does not say: a part of the L2 cache.
    private static let pieceBytes = 256 * 1024

    let file: InputFile
    private var stored = ByteBuffer()
    private var decoded = ByteBuffer()

    init(file: InputFile) {
        self.file = file
    }

    /// Shows the whole array to `piece`.
    func read(_ array: StoredArray, piece: Piece) throws {
        try HDF5.requireRoom()
        switch array.layout {
        case .compact: try readCompact(array, piece: piece)
        case .contiguous: try readContiguous(array, piece: piece)
        case .chunked(let chunks): try readChunked(array, chunks, piece: piece)
        }
    }

    private func readCompact(_ array: StoredArray, piece: Piece) throws {
        let memory = try stored.reserve(array.bytes)
        let type = array.type.make()
        guard let type,
            H5Dread(array.object.id, type.id, dim_h5_whole_space(), dim_h5_whole_space(), dim_h5_default(), memory) >= 0
        else { throw damaged(array, HDF5.lastReason) }
        piece(0, memory, array.count)
    }

    private func readContiguous(_ array: StoredArray, piece: Piece) throws {
        let address = H5Dget_offset(array.object.id)
        guard address != dim_h5_no_address(), let start = Int64(exactly: address),
            start <= file.size, array.bytes <= file.size - start
        else { throw damaged(array, "its data is outside the file") }
        let step = ArrayReader.pieceBytes / array.type.size
        let memory = try stored.reserve(min(step, array.count) * array.type.size)
        var first = 0
        while first < array.count {
            let count = min(step, array.count - first)
            try readFile(array, memory, count: count * array.type.size, at: start + Int64(first * array.type.size))
            piece(first, memory, count)
            first += count
        }
    }

    private func readFile(_ array: StoredArray, _ memory: UnsafeMutableRawPointer, count: Int, at: Int64) throws {
        let failure = readFully(file.descriptor, memory, count: count, at: at)
        guard failure == 0 else { throw ioError("cannot read \(file.path) (\(array.name))", failure) }
    }

    func damaged(_ array: StoredArray, _ why: String) -> DimError {
        DimError(.fileFormat, "\(file.path): \(array.name): damaged (\(why)); use another copy of the file")
    }

    // MARK: Chunks

    private func readChunked(_ array: StoredArray, _ chunks: StoredArray.Chunks, piece: Piece) throws {
        var offset = [hsize_t](repeating: 0, count: array.shape.count)
        while true {
            let data = try readChunk(array, chunks, at: offset)
            show(data, chunks.shape, of: array, at: offset.map(Int.init), piece: piece)
            // The next chunk in C order.
            var axis = array.shape.count - 1
            while axis >= 0 {
                offset[axis] += hsize_t(chunks.shape[axis])
                if offset[axis] < array.shape[axis] { break }
                offset[axis] = 0
                axis -= 1
            }
            if axis < 0 { return }
        }
    }

    /// A whole chunk, decoded.
    private func readChunk(
        _ array: StoredArray, _ chunks: StoredArray.Chunks, at offset: [hsize_t]
    ) throws -> UnsafeRawPointer {
        let raw = chunks.shape.reduce(1, *) * array.type.size
        var storedSize: hsize_t = 0
        guard H5Dget_chunk_storage_size(array.object.id, offset, &storedSize) >= 0 else {
            throw damaged(array, HDF5.lastReason)
        }
        // deflate adds 5 bytes per 16 KB at worst; zlib's own bound is a little larger.
        let most = chunks.filters.isEmpty ? raw : Int(compressBound(uLong(raw + 4))) + 4
        guard 0 < storedSize, storedSize <= most, let size = Int(exactly: storedSize) else {
            throw damaged(array, storedSize == 0 ? "a chunk is missing" : "a chunk of impossible size")
        }
        let memory = try stored.reserve(size)
        var mask: UInt32 = 0
        guard dim_h5_read_chunk(array.object.id, offset, &mask, memory, size) >= 0 else {
            throw damaged(array, HDF5.lastReason)
        }
        return try decode(array, chunks.filters, mask: mask, size: size, raw: raw)
    }

    /// Undoes the filters, last to first, on `size` bytes in `stored`; the result must be `raw` bytes to the byte.
    private func decode(
        _ array: StoredArray, _ filters: [StoredArray.Filter], mask: UInt32, size: Int, raw: Int
    ) throws -> UnsafeRawPointer {
        var size = size
        for (index, filter) in filters.enumerated().reversed() {
            // A writer may leave out a filter that does not pay, chunk by chunk; but not the checksum.
            if mask >> UInt32(index) & 1 == 1 {
                guard filter != .fletcher32 else { throw damaged(array, "a chunk without its checksum") }
                continue
            }
            switch filter {
            case .fletcher32:
                guard size > 4 else { throw damaged(array, "a chunk cut short") }
                size -= 4
                let sum = stored.pointer.loadUnaligned(fromByteOffset: size, as: UInt32.self).littleEndian
                guard sum == Fletcher32.checksum(UnsafeRawBufferPointer(start: stored.pointer, count: size)) else {
                    throw damaged(array, "its checksum does not fit its data")
                }
            case .deflate:
                // A checksum that was taken before compression came out with the data.
                let before = filters[..<index].enumerated().contains {
                    $1 == .fletcher32 && mask >> UInt32($0) & 1 == 0
                }
                let expected = raw + (before ? 4 : 0)
                let output = try decoded.reserve(expected)
                var written = uLong(expected)
                var used = uLong(size)
                let status = uncompress2(
                    output.assumingMemoryBound(to: UInt8.self), &written,
                    stored.pointer.assumingMemoryBound(to: UInt8.self), &used)
                guard status == Z_OK, written == expected, used == size else {
                    throw damaged(array, "a chunk does not decompress to its size")
                }
                swap(&stored, &decoded)
                size = expected
            case .shuffle:
                let output = try decoded.reserve(size)
                unshuffle(stored.pointer, into: output, bytes: size, width: array.type.size)
                swap(&stored, &decoded)
            }
        }
        guard size == raw else { throw damaged(array, "a chunk of the wrong size") }
        return UnsafeRawPointer(stored.pointer)
    }

    /// Byte k of all elements is contiguous, for each k; bytes that make no whole element stay at the end.
    private func unshuffle(
        _ source: UnsafeRawPointer, into target: UnsafeMutableRawPointer, bytes: Int, width: Int
    ) {
        let count = bytes / width
        let from = source.assumingMemoryBound(to: UInt8.self)
        let to = target.assumingMemoryBound(to: UInt8.self)
        for k in 0..<width {
            let plane = from + k * count
            var out = to + k
            for i in 0..<count {
                out.pointee = plane[i]
                out += width
            }
        }
        memcpy(to + count * width, from + count * width, bytes - count * width)
    }

    /// The part of a chunk that is inside the array, as runs that are contiguous in both.
    private func show(
        _ data: UnsafeRawPointer, _ chunk: [Int], of array: StoredArray, at offset: [Int], piece: Piece
    ) {
        let rank = array.shape.count
        let inside = (0..<rank).map { min(chunk[$0], array.shape[$0] - offset[$0]) }
        // Axes behind `axis` are whole, so that a run spans them.
        var axis = rank - 1
        while axis > 0 && chunk[axis] == array.shape[axis] { axis -= 1 }
        let tail = array.shape[(axis + 1)...].reduce(1, *)
        let run = inside[axis] * tail
        var index = [Int](repeating: 0, count: axis)
        while true {
            var inChunk = 0
            var inArray = 0
            for d in 0...axis {
                let i = d < axis ? index[d] : 0
                inChunk = inChunk * chunk[d] + i
                inArray = inArray * array.shape[d] + offset[d] + i
            }
            piece(inArray * tail, data + inChunk * tail * array.type.size, run)
            var d = axis - 1
            while d >= 0 {
                index[d] += 1
                if index[d] < inside[d] { break }
                index[d] = 0
                d -= 1
            }
            if d < 0 { return }
        }
    }
}

/// Memory that is used again and again, and grows as needed.
struct ByteBuffer {
    private final class Block {
        let pointer: UnsafeMutableRawPointer
        let size: Int

        init(_ size: Int) throws {
            var raw: UnsafeMutableRawPointer?
            guard posix_memalign(&raw, 64, size) == 0, let raw else {
                throw DimError(.outOfMemory, "out of memory: cannot allocate \(size) bytes to read or write a file")
            }
            pointer = raw
            self.size = size
        }

        deinit { free(pointer) }
    }

    private var block: Block?

    /// Of the last `reserve`.
    var pointer: UnsafeMutableRawPointer { block!.pointer }

    /// At least `size` bytes, not initialised; what stood there before is lost where it has to grow.
    mutating func reserve(_ size: Int) throws -> UnsafeMutableRawPointer {
        if block.map({ $0.size < size }) ?? true {
            block = nil
            block = try Block(max(size, 1))
        }
        return block!.pointer
    }
}
