from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ('users', '0002_deactivation_kills_tokens'),
    ]

    operations = [
        migrations.AddField(
            model_name='loginfailures',
            name='reserved',
            field=models.IntegerField(db_default=0, default=0),
        ),
    ]
