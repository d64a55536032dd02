def handler(req, res):
    """Each number when its time has come."""
    import time

    res.set_header("Content-Type", "text/event-stream")
    for number in range(int(req.params.get("to", 3))):
        yield f"data: {number}\n\n"
        time.sleep(0.1)
