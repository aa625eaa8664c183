import MQTTPackets
import NIOCore

#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

/// What a link has on its event loop: the connection that there is, and what the test has said of it.
///
/// ```
///   client ◀─▶ LinkEnd ── flow toBroker ─▶ LinkEnd ◀─▶ broker
///                      ◀─ flow toClient ──
/// ```
final class LinkState {
    let loop: any EventLoop
    let record: TranscriptRecord
    private let dial:
        (_ initialize: @escaping @Sendable (any Channel) -> EventLoopFuture<Void>) -> EventLoopFuture<any Channel>
    private(set) var connections = 0
    /// Of the newest connection.
    private(set) var flows: [LinkDirection: LinkFlow] = [:]
    private var open: [ObjectIdentifier: any Channel] = [:]

    var delays: [LinkDirection: Duration] = [:]
    private(set) var stalled: Set<LinkDirection> = []
    /// Bytes that still go through before the connection is cut.
    var cuts: [LinkDirection: Int] = [:]
    private var losesNext: Set<LinkDirection> = []
    var refusals = 0

    init(_ surroundings: Surroundings, _ broker: SocketAddress, _ loop: any EventLoop, _ record: TranscriptRecord) {
        self.loop = loop
        self.record = record
        dial = { surroundings.dial(broker, loop, $0) }
    }

    // MARK: Connections

    /// A client connects: the broker is connected to before the client hears of it.
    func accept(_ client: any Channel) -> EventLoopFuture<Void> {
        guard refusals == 0 else {
            refusals -= refusals == .max ? 0 : 1
            record.add(TranscriptEntry(.refused, "refused", connection: connections + 1))
            return loop.makeFailedFuture(IOError(errnoCode: ECONNREFUSED, reason: "the link refuses it"))
        }
        let (clientEnd, brokerEnd) = (LinkEnd(), LinkEnd())
        do {
            try prepare(client, clientEnd)
        } catch {
            return loop.makeFailedFuture(error)
        }
        let bound = NIOLoopBound((state: self, clientEnd: clientEnd, brokerEnd: brokerEnd), eventLoop: loop)
        return dial { broker in
            broker.eventLoop.makeCompletedFuture { try bound.value.state.prepare(broker, bound.value.brokerEnd) }
        }
        .map { broker in
            bound.value.state.connected(client, bound.value.clientEnd, broker, bound.value.brokerEnd)
        }
    }

    private func prepare(_ channel: any Channel, _ end: LinkEnd) throws {
        try channel.syncOptions?.setOption(.autoRead, value: false)
        try channel.pipeline.syncOperations.addHandler(end)
        let id = ObjectIdentifier(channel)
        open[id] = channel
        channel.closeFuture.assumeIsolated().whenComplete { _ in self.open[id] = nil }
    }

    private func connected(_ client: any Channel, _ clientEnd: LinkEnd, _ broker: any Channel, _ brokerEnd: LinkEnd) {
        connections += 1
        let toBroker = LinkFlow(.toBroker, self, from: client, to: broker)
        let toClient = LinkFlow(.toClient, self, from: broker, to: client)
        toBroker.opposite = toClient
        toClient.opposite = toBroker
        flows = [.toBroker: toBroker, .toClient: toClient]
        for direction in losesNext { flows[direction]?.loses = true }
        losesNext = []
        clientEnd.incoming = toBroker
        clientEnd.outgoing = toClient
        brokerEnd.incoming = toClient
        brokerEnd.outgoing = toBroker
        record.add(TranscriptEntry(.connected, "connected", connection: connections))
        // The client's end reads once it is active.
        toClient.readOn()
    }

    /// Both ends are closed, behind what was passed on to them.
    func close(_ flow: LinkFlow) {
        guard !flow.isOver else { return }
        record.add(TranscriptEntry(.closed, "closed", connection: flow.connection))
        if flows[flow.direction] === flow { flows = [:] }
        // Closing calls back.
        let both = [flow, flow.opposite].compactMap { $0 }
        for flow in both { flow.isOver = true }
        for flow in both { flow.closeSink() }
    }

    // MARK: Faults

    func cut(after bytes: Int, _ direction: LinkDirection) throws {
        guard bytes == 0 else {
            cuts[direction] = bytes
            return
        }
        guard let flow = flows[direction] else { throw TestingError(description: "there is no connection to cut") }
        close(flow)
    }

    func lose(_ directions: [LinkDirection]) {
        guard !flows.isEmpty else { return losesNext.formUnion(directions) }
        for direction in directions { flows[direction]?.loses = true }
    }

    func stall(_ directions: [LinkDirection]) { stalled.formUnion(directions) }

    func resume() {
        stalled = []
        for flow in flows.values { flow.resume() }
    }

    /// The test is over.
    func closeAll() { for channel in open.values { channel.close(promise: nil) } }
}
