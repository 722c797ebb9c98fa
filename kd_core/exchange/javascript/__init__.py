"""What runs in a browser, of the app's components and the offline page alike: maths, models, a sheet to draw on."""
