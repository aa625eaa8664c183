import NIOCore

#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

/// What stands at the beginning of each payload of a measurement.
struct BenchPayload {
    /// Who published: a run and one of its publishers.
    struct Source: Hashable, Sendable {
        let run: UInt32
        let publisher: UInt32
    }

    private static let magic: UInt32 = 0x4150_5542
    static let bytesMin = 28

    var source: Source
    /// From 0, in the order of publishing.
    var sequence: UInt64
    /// When it was published, or was due: nanoseconds of this machine's clock of the day, which its processes share.
    var time: UInt64

    init(source: Source, sequence: UInt64, time: UInt64) {
        self.source = source
        self.sequence = sequence
        self.time = time
    }

    /// Nil where somebody else has published it.
    init?(_ payload: ByteBuffer) {
        var payload = payload
        guard
            let (magic, run, publisher, sequence, time) = payload.readMultipleIntegers(
                as: (UInt32, UInt32, UInt32, UInt64, UInt64).self
            ), magic == Self.magic
        else { return nil }
        self.init(source: Source(run: run, publisher: publisher), sequence: sequence, time: time)
    }

    func bytes(_ size: Int) -> ByteBuffer {
        var bytes = ByteBuffer()
        bytes.reserveCapacity(size)
        bytes.writeMultipleIntegers(Self.magic, source.run, source.publisher, sequence, time)
        bytes.writeRepeatingByte(UInt8(ascii: "x"), count: size - bytes.readableBytes)
        return bytes
    }

    static var now: UInt64 {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        return UInt64(now.tv_sec) * 1_000_000_000 + UInt64(now.tv_nsec)
    }
}
