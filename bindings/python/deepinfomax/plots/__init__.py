"""What is drawn: pictures made of images, maps, charts and curves; the words in them."""
