import NIOCore
import NIOPosix

#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

/// Reads standard input, or a file, on a thread that may block.
struct StandardInput {
    private static let readBytesMax = 64 << 10

    /// How long a read looks away from its task being cancelled.
    private static let millisecondsBlocked: Int32 = 100

    private let descriptor: Int32
    private var rest = ByteBuffer()
    private var isAtEnd = false

    init(descriptor: Int32 = STDIN_FILENO) { self.descriptor = descriptor }

    /// What is there next; nil at the end.
    private mutating func read() async throws -> ByteBuffer? {
        while !isAtEnd {
            let bytes = try await NIOThreadPool.singleton.runIfActive { [descriptor] in try Self.read(descriptor) }
            try Task.checkCancellation()
            guard let bytes else { continue }
            if bytes.readableBytes > 0 { return bytes }
            isAtEnd = true
        }
        return nil
    }

    /// Nil where nothing has come for a while, nothing in the buffer at the end.
    private static func read(_ descriptor: Int32) throws -> ByteBuffer? {
        var ready = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        let isReady = poll(&ready, 1, millisecondsBlocked)
        if isReady == 0 || (isReady < 0 && errno == EINTR) { return nil }
        var buffer = ByteBufferAllocator().buffer(capacity: readBytesMax)
        let count = buffer.withUnsafeMutableWritableBytes { readBytes(from: descriptor, $0.baseAddress, readBytesMax) }
        if count < 0 {
            if errno == EINTR || errno == EAGAIN { return nil }
            throw CommandFailure("cannot read: \(String(cString: strerror(errno)))")
        }
        buffer.moveWriterIndex(forwardBy: count)
        return buffer
    }

    /// Everything up to the end, at most `bytesMax`.
    mutating func all(bytesMax: Int) async throws -> ByteBuffer {
        var whole = ByteBuffer()
        while var bytes = try await read() {
            whole.writeBuffer(&bytes)
            guard whole.readableBytes <= bytesMax else {
                throw CommandFailure("a payload has at most \(bytesMax) bytes")
            }
        }
        return whole
    }

    /// The next line without its end; the last one may have none. Nil at the end.
    mutating func line(bytesMax: Int) async throws -> ByteBuffer? {
        var searched = 0
        while true {
            let view = rest.readableBytesView
            if let end = view.dropFirst(searched).firstIndex(of: UInt8(ascii: "\n")) {
                var line = rest.readSlice(length: end - view.startIndex)
                rest.moveReaderIndex(forwardBy: 1)
                if let length = line?.readableBytes, line?.readableBytesView.last == UInt8(ascii: "\r") {
                    line = line?.readSlice(length: length - 1)
                }
                return line
            }
            searched = rest.readableBytes
            guard searched <= bytesMax else { throw CommandFailure("a payload has at most \(bytesMax) bytes") }
            guard var bytes = try await read() else {
                return searched == 0 ? nil : rest.readSlice(length: searched)
            }
            if searched == 0 { rest = bytes } else { rest.writeBuffer(&bytes) }
        }
    }
}

/// Outside of `StandardInput`, which has another `read`.
private func readBytes(from descriptor: Int32, _ bytes: UnsafeMutableRawPointer?, _ count: Int) -> Int {
    read(descriptor, bytes, count)
}
