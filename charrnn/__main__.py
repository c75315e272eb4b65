from charrnn.cli.commands import main

main()
