import MQTTCore
import MQTTPackets
import NIOCore

/// One connection: two queues of bytes, and what stands at either end of them.
final class Link {
    let id: ConnectionID
    let loop: Int
    let client: SimulatedClient
    /// Stands for the address of the peer, so that the core's events can be told apart.
    let address: String
    var toBroker = ByteBuffer()
    var toClient = ByteBuffer()
    /// Nothing that is written from now on gets through; what is under way may.
    var isCut = false

    // The broker's end.
    var rest = ByteBuffer()
    var next = Received.Next.read
    var goesOn = false
    var isHandling = false
    var isWritable = true
    var isClosing = false
    /// The core was told that the connection is closed.
    var isGone = false
    var wasAccepted = false
    var leftInOrder = false
    /// The core has parted it from its session.
    var hasEnded = false
    /// Unread bytes above which the broker finds the link not writable.
    let highWater: Int
    var monitor: WireMonitor

    // The client's end.
    var hasLeft = false
    var isSlow = false
    var readsNothing = false
    var decoder: PacketDecoder
    var unread = ByteBuffer()
    var aliases: [String: UInt32] = [:]
    var lastSent: Int64

    init(_ id: ConnectionID, loop: Int, client: SimulatedClient, address: String, highWater: Int, at now: Int64) {
        self.id = id
        self.loop = loop
        self.client = client
        self.address = address
        self.highWater = highWater
        let connect = client.session.connect
        decoder = PacketDecoder(version: connect.version)
        monitor = WireMonitor(connect)
        lastSent = now
    }

    var description: String {
        "\(address) of \(client.name): \(toBroker.readableBytes) and \(toClient.readableBytes) bytes, rest "
            + "\(rest.readableBytes), \(next), writable \(isWritable), cut \(isCut), closing \(isClosing), "
            + "gone \(isGone), left \(hasLeft)"
    }

    /// Either end may still do something.
    var isOver: Bool { isGone && hasLeft }
    var brokerReads: Bool { !isGone && (next == .read || next == .ignore) }
    var brokerCanSeeEnd: Bool { !isGone && ((isCut || hasLeft) && toBroker.readableBytes == 0 || isClosing) }
    var clientCanSeeEnd: Bool { !hasLeft && (isCut || isClosing || isGone) && toClient.readableBytes == 0 }

    func cut(keeping random: inout SeededGenerator) {
        isCut = true
        for queue in [\Link.toBroker, \Link.toClient] {
            let bytes = self[keyPath: queue]
            let kept = random.below(bytes.readableBytes + 1)
            self[keyPath: queue] = bytes.getSlice(at: bytes.readerIndex, length: kept) ?? bytes
        }
    }

    func writeFromClient(_ bytes: ByteBuffer, at now: Int64) {
        guard !isCut, !hasLeft, !isGone else { return }
        toBroker.writeImmutableBuffer(bytes)
        lastSent = now
    }

    func writeFromBroker(_ bytes: ByteBuffer) {
        guard !isCut, !hasLeft, !isGone else { return }
        toClient.writeImmutableBuffer(bytes)
    }
}
