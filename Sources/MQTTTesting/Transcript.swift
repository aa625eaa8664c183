import MQTTPackets
import Synchronization

/// Which way something goes over a link.
public enum LinkDirection: Sendable, Hashable, CaseIterable {
    /// From the client.
    case toBroker
    /// From the broker.
    case toClient

    var opposite: LinkDirection { self == .toBroker ? .toClient : .toBroker }
}

/// What went over a link, in the order in which it was passed on, with all its connections.
///
/// A transcript equals a list of its lines:
/// `link.transcript == ["connected", "→ CONNECT device", "← CONNACK success"]`.
public struct Transcript: Sendable, Hashable {
    /// Line by line.
    public internal(set) var entries: [TranscriptEntry] = []

    /// As they read.
    public var lines: [String] { entries.map(\.description) }

    /// Those that are packets of these kinds.
    public func only(_ kinds: PacketKind...) -> Transcript {
        Transcript(entries: entries.filter { entry in entry.kind.map(kinds.contains) ?? false })
    }
}

/// A packet that was passed on, or something that befell a connection.
public struct TranscriptEntry: Sendable, Hashable, CustomStringConvertible {
    /// What has happened.
    public enum Event: Sendable, Hashable {
        /// A connection was made.
        case connected
        /// A connection was asked for and refused.
        case refused
        /// An end has closed the connection, or it was cut; so much of a packet as went through before is lost.
        case closed
        /// A packet.
        case packet(PacketKind, LinkDirection)
        /// Bytes that are no packet. They are passed on, and nothing behind them is read along.
        case unreadable(LinkDirection)
        /// Bytes that the link has lost, as it was told to.
        case lost(LinkDirection)
    }

    /// What has happened.
    public let event: Event
    /// As it reads in the transcript, such as `→ PUBLISH readings "21.5" QoS 1 id 1`.
    public let description: String
    /// Of the link, from 1.
    public let connection: Int
    /// The packet, where it is one.
    package let packet: Packet?

    init(_ event: Event, _ description: String, connection: Int, packet: Packet? = nil) {
        self.event = event
        self.description = description
        self.connection = connection
        self.packet = packet
    }

    init(_ packet: Packet, _ direction: LinkDirection, connection: Int) {
        let arrow = direction == .toBroker ? "→" : "←"
        self.init(
            .packet(packet.kind, direction),
            "\(arrow) \(PacketText.describe(packet))",
            connection: connection,
            packet: packet
        )
    }

    /// Of a packet.
    public var kind: PacketKind? {
        guard case .packet(let kind, _) = event else { return nil }
        return kind
    }
}

extension Transcript: CustomStringConvertible {
    /// A line each.
    public var description: String { lines.joined(separator: "\n") }
}

extension Transcript {
    /// Whether the lines are these.
    public static func == (transcript: Transcript, lines: [String]) -> Bool { transcript.lines == lines }
}

/// A transcript while it is written.
final class TranscriptRecord: Sendable {
    private struct State {
        var transcript = Transcript()
        /// What was waited for has been found before here.
        var next = 0
        var waiting: [Sleep] = []
    }

    private let state = Mutex(State())

    var transcript: Transcript { state.withLock(\.transcript) }

    func add(_ entry: TranscriptEntry) {
        let waiting = state.withLock { state in
            state.transcript.entries.append(entry)
            defer { state.waiting = [] }
            return state.waiting
        }
        for sleep in waiting { sleep.end(nil) }
    }

    /// The next entry that matches, behind the last that was found.
    func next(_ matches: @escaping @Sendable (TranscriptEntry) -> Bool) async throws -> TranscriptEntry {
        while true {
            let sleep = Sleep()
            let found = state.withLock { state -> TranscriptEntry? in
                let entries = state.transcript.entries
                if let at = entries[state.next...].firstIndex(where: matches) {
                    state.next = at + 1
                    return entries[at]
                }
                state.waiting.append(sleep)
                return nil
            }
            if let found { return found }
            try await sleep.waitUnlessCancelled()
        }
    }
}
