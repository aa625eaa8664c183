import MQTTPackets
import MQTTSessions
import NIOCore

/// What one connection's loop has to do for it.
package struct OutputEntry: Sendable {
    package let connection: ConnectionID
    /// To be written in order.
    package let chunks: [ByteBuffer]
    /// After the chunks: end the connection.
    package let closes: Bool
    /// Reading goes on where `receive` said to wait.
    package let resumes: Bool
}

extension BrokerCore {
    /// Puts a packet into a connection's send buffer.
    mutating func write(_ packet: Packet, to c: Int) {
        let before = connections[c].output.bytes
        connections[c].output.append(packet, connections[c].version)
        wrote(c, since: before)
    }

    /// PUBACK, PUBREC, PUBREL or PUBCOMP.
    mutating func writeAnswer(_ firstByte: UInt8, _ packetID: UInt16, _ reason: ReasonCode, to c: Int) {
        let before = connections[c].output.bytes
        connections[c].output.appendAnswer(firstByte, packetID, reason, connections[c].version)
        wrote(c, since: before)
    }

    mutating func wrote(_ c: Int, since before: Int) {
        statistics.unsentBytes &+= connections[c].output.bytes &- before
        statistics.unsentPackets &+= 1
        touch(c)
    }

    /// The loop was woken and found nothing more to do: it has to be woken again.
    package mutating func fellAsleep(loop: Int) { loops[loop].isWoken = false }

    /// What the loop has to write, close and resume.
    package mutating func takeOutput(loop: Int) -> [OutputEntry] {
        guard !loops[loop].touched.isEmpty else { return [] }
        var touched: [Int32] = []
        swap(&touched, &loops[loop].touched)
        var output: [OutputEntry] = []
        output.reserveCapacity(touched.count)
        for slot in touched {
            let c = Int(slot)
            // A slot that was freed and used again may stand here for another loop: then it is in that list too.
            guard c < connections.count, connections[c].loop == loop else { continue }
            connections[c].isTouched = false
            guard connections[c].state != .free, connections[c].state != .awaitingCommit else { continue }
            let mayClose = connections[c].closeTicket <= committed || hasStoreFailed
            let closes = connections[c].state == .closing && mayClose
            // It closes once that may be seen.
            guard connections[c].state != .closing || closes else { continue }
            guard connections[c].isWritable || closes else { continue }
            let (bytes, packets) = (connections[c].output.bytes, connections[c].output.packets)
            statistics.unsentBytes -= bytes
            statistics.unsentPackets -= packets
            statistics.bytesSent &+= UInt64(bytes)
            connections[c].bytesSent &+= UInt64(bytes)
            statistics.packetsSent &+= UInt64(packets)
            let chunks = connections[c].output.take()
            let resumes =
                connections[c].isReadingPaused && !connections[c].isPausedForCommit && !closes
                && !connections[c].isAsking
            if resumes { connections[c].isReadingPaused = false }
            output.append(OutputEntry(connection: id(c), chunks: chunks, closes: closes, resumes: resumes))
        }
        return output
    }

    /// Loops other than this one that have something to do and do not know it yet.
    package mutating func loopsToWake(besides loop: Int) -> [Int] {
        guard loops.count > 1 || loop < 0 else { return [] }
        var wake: [Int] = []
        for other in loops.indices where other != loop && !loops[other].isWoken {
            if loops[other].touched.isEmpty && loops[other].hungry.isEmpty { continue }
            loops[other].isWoken = true
            wake.append(other)
        }
        return wake
    }

    /// Whether the transport takes more; where it does not, what it still holds counts with the send buffer.
    package mutating func setWritable(
        _ id: ConnectionID,
        _ isWritable: Bool,
        bytesInTransport: Int = 0,
        at now: Int64
    ) {
        self.now = now
        guard let c = index(id), connections[c].isWritable != isWritable else { return }
        hold(isWritable ? 0 : bytesInTransport, inTransportOf: c)
        connections[c].isWritable = isWritable
        connections[c].lastWritable = now
        guard isWritable else { return armDrainTimer(c) }
        if connections[c].state == .connected { pump(c) }
        touch(c)
    }

    /// A connection that is not writable has taken some of what its transport holds.
    package mutating func tookBytes(_ id: ConnectionID, bytesInTransport: Int, at now: Int64) {
        self.now = now
        guard let c = index(id), !connections[c].isWritable else { return }
        connections[c].lastWritable = now
        hold(bytesInTransport, inTransportOf: c)
    }

    private mutating func hold(_ bytes: Int, inTransportOf c: Int) {
        statistics.unsentBytes += bytes - connections[c].bytesInTransport
        connections[c].bytesInTransport = bytes
    }

    /// Whether connections of this loop have more to be sent, now that their output was taken.
    package mutating func isHungry(loop: Int) -> Bool { !loops[loop].hungry.isEmpty }

    /// Gives the hungry connections of a loop their next portion.
    package mutating func feed(loop: Int, at now: Int64) {
        self.now = now
        var hungry: [ConnectionID] = []
        swap(&hungry, &loops[loop].hungry)
        budget = limits.deliveriesPerTurn
        for id in hungry {
            guard let c = index(id) else { continue }
            connections[c].isHungry = false
            guard budget > 0 else {
                becomeHungry(c)
                continue
            }
            if isHolding, held[Int32(c)] != nil { releaseHeld(c) }
            if connections[c].state == .connected && connections[c].isWritable { pump(c) }
        }
    }

    mutating func becomeHungry(_ c: Int) {
        guard !connections[c].isHungry else { return }
        connections[c].isHungry = true
        loops[connections[c].loop].hungry.append(id(c))
    }

    package mutating func takeEvents() -> [CoreEvent] {
        guard !events.isEmpty else { return [] }
        var taken: [CoreEvent] = []
        swap(&taken, &events)
        return taken
    }

    /// What the core let go of in this turn, for the caller to free without the lock.
    package mutating func takeDiscarded() -> [Discarded] {
        guard !discarded.isEmpty else { return [] }
        var taken: [Discarded] = []
        swap(&taken, &discarded)
        return taken
    }
}
