import DequeModule
import MQTTPackets
import NIOCore

/// One direction of one connection over a link: reads from one end, and gives the other what the link lets through.
final class LinkFlow {
    private enum Late {
        case bytes(ByteBuffer)
        case end
    }

    let direction: LinkDirection
    let connection: Int
    private let link: LinkState
    private let source: any Channel
    private let sink: any Channel
    weak var opposite: LinkFlow?
    var version: ProtocolVersion? {
        get { decoder.version }
        set { decoder.version = newValue }
    }
    private var decoder = PacketDecoder(version: nil)
    /// Of a packet that has been passed on in part.
    private var rest = ByteBuffer()
    private var isReadable = true
    private var late = Deque<(what: Late, due: NIODeadline)>()
    /// While the link is stalled.
    private var held = Deque<Late>()
    /// What comes from now on is lost.
    var loses = false
    var isOver = false

    init(_ direction: LinkDirection, _ link: LinkState, from source: any Channel, to sink: any Channel) {
        self.direction = direction
        self.link = link
        self.source = source
        self.sink = sink
        connection = link.connections
    }

    // MARK: What the source gives

    func received(_ bytes: ByteBuffer) {
        guard !isOver else { return }
        guard !loses else {
            add(.lost(direction), "\(bytes.readableBytes) bytes")
            return readOn()
        }
        pass(.bytes(bytes))
        readOn()
    }

    func readOn() {
        guard !isOver, !link.stalled.contains(direction), sink.isWritable else { return }
        source.read()
    }

    /// Whoever only loses bytes does not hear of the end either.
    func sourceClosed() {
        if !loses { pass(.end) }
    }

    // MARK: What the sink is given

    private func pass(_ what: Late) {
        guard !link.stalled.contains(direction) else { return held.append(what) }
        let delay = link.delays[direction] ?? .zero
        guard delay > .zero || !late.isEmpty else { return perform(what) }
        let due = max(link.loop.now + TimeAmount(delay), late.last?.due ?? .uptimeNanoseconds(0))
        late.append((what, due))
        link.loop.assumeIsolated().scheduleTask(deadline: due) { self.performNext() }
    }

    private func performNext() {
        if let next = late.popFirst() { perform(next.what) }
    }

    private func perform(_ what: Late) {
        guard !isOver else { return }
        switch what {
        case .end: link.close(self)
        case .bytes(let bytes):
            guard let left = link.cuts[direction] else { return write(bytes) }
            link.cuts[direction] = left - bytes.readableBytes
            guard bytes.readableBytes >= left else { return write(bytes) }
            link.cuts[direction] = nil
            if let last = bytes.getSlice(at: bytes.readerIndex, length: left), left > 0 { write(last) }
            link.close(self)
        }
    }

    private func write(_ bytes: ByteBuffer) {
        writeDown(bytes)
        sink.writeAndFlush(bytes, promise: nil)
    }

    /// The link is stalled no more.
    func resume() {
        while let what = held.popFirst() { pass(what) }
        readOn()
    }

    /// What was passed on before still arrives.
    func closeSink() {
        let sink = sink
        // An empty write is done once all before it are.
        sink.writeAndFlush(ByteBuffer()).whenComplete { _ in sink.close(promise: nil) }
    }

    // MARK: The transcript

    private func writeDown(_ bytes: ByteBuffer) {
        guard isReadable else { return }
        rest.writeImmutableBuffer(bytes)
        // A broker that answers what is no CONNECT answers as MQTT 3.1.1 has it.
        if direction == .toClient && version == nil { version = .v3_1_1 }
        do {
            while let packet = try decoder.next(&rest) {
                if case .connect(let connect) = packet { opposite?.version = connect.version }
                link.record.add(TranscriptEntry(packet, direction, connection: connection))
            }
            rest = ByteBuffer(bytes: rest.readableBytesView)
        } catch {
            isReadable = false
            add(.unreadable(direction), "\(rest.readableBytes) bytes: \(error.explanation)")
            rest = ByteBuffer()
        }
    }

    private func add(_ event: TranscriptEntry.Event, _ what: String) {
        let arrow = direction == .toBroker ? "→" : "←"
        let word =
            if case .lost = event { "lost" } else { "unreadable" }
        link.record.add(TranscriptEntry(event, "\(arrow) \(word) \(what)", connection: connection))
    }
}

/// A link's end of a channel.
final class LinkEnd: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    /// What comes from this channel, and what goes to it.
    var incoming: LinkFlow?
    var outgoing: LinkFlow?

    func channelActive(context: ChannelHandlerContext) { incoming?.readOn() }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { incoming?.received(unwrapInboundIn(data)) }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable { outgoing?.readOn() }
    }

    func channelInactive(context: ChannelHandlerContext) {
        incoming?.sourceClosed()
        incoming = nil
        outgoing = nil
    }

    /// The end of a connection, like any other.
    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
